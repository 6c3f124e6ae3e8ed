from durable import Cancelled, Workflow, activity, set_var, workflow


@activity
def charge() -> None: ...


@workflow
def flow() -> Workflow[None]:
    try:
        yield charge.call()
    except Cancelled:
        raise
    except BaseException as error:
        set_var("error", str(error))
    finally:
        for text in ("a", "b"):
            if text == "a":
                continue
            set_var("text", text)
