from durable import Workflow, activity, gather, workflow


@activity
def names_of(group: str) -> list[str]:
    return [group]


@workflow
def flow(groups: list[str]) -> Workflow[list[str]]:
    upper = [name.upper() for name in (yield names_of.call("staff"))]
    found = yield gather(*(names_of.call(group) for group in groups))
    for name, others in zip(groups, (yield gather(*map(names_of.call, groups))), strict=True):
        upper += [name, *others]
    return upper + [name for names in found for name in names]
