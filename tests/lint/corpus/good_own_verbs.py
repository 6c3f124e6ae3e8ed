from durable import Workflow, info, logger, now, random, set_var, sleep, uuid4, workflow


@workflow
def flow() -> Workflow[str]:
    began = now()
    set_var("id", str(uuid4()))
    logger().info("begins at %s", began)
    yield sleep(random().random() + random().randint(1, 6))
    return f"{info().instance_id} {now() - began}"
