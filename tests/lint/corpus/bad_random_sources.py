import os
import secrets
from random import Random, SystemRandom

import numpy as np

from durable import Workflow, sleep, workflow


@workflow
def flow() -> Workflow[str]:
    dice = Random()  # expect: DUR102 random.Random()
    yield sleep(dice.random())
    yield sleep(SystemRandom().random())  # expect: DUR102 random.SystemRandom()
    yield sleep(np.random.rand())  # expect: DUR102 numpy.random.rand()
    return secrets.token_hex() + os.urandom(4).hex()  # expect: DUR102 secrets.token_hex # expect: DUR102 os.urandom
