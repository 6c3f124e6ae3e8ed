from durable import Workflow, race, sleep, wait_signal, workflow


@workflow
def flow() -> Workflow[str]:
    match (yield race(text=wait_signal("text"), late=sleep(60))):
        case winner if winner.name == "late":
            return "late"
        case winner:
            open = winner.value
    match open:
        case {"time": time, **print}:
            return str(time) + str(print)
        case [id, *hash]:
            return f"{id} {hash}"
    return str(open)
