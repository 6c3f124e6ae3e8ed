import logging
import sys

from durable import Workflow, sleep, workflow

log = logging.getLogger(__name__)


@workflow
def flow() -> Workflow[None]:
    print("begins")  # expect: DUR105 print() says it again in every replay
    log.info("begins")  # expect: DUR105 use logger()
    logging.warning("begins")  # expect: DUR105 logging.warning()
    sys.stdout.write("begins")  # expect: DUR105 sys.stdout.write()
    yield sleep(1)
