"""Runs a random graph of fake stages as `noisy-student run` runs its own.

python -m tests.workflow.chain.fake_chain DIRECTORY SEED
"""

import pathlib
import random

from stage import cli
from tests.workflow.chain import fakes
from workflow.chain import lock
from workflow.chain.execution import run


def main(argv):
    directory, seed = pathlib.Path(argv[1]), int(argv[2])
    stages = fakes.graph(fakes.random_parents(random.Random(seed), 6))
    request = fakes.request(directory, stages, jobs=3, resume="fake_chain")
    with cli.exit_on_job_error(), lock.held(str(directory), cli.log) as descriptor:
        run(request, fakes.files(directory), cli.log, keep_open=[descriptor])


if __name__ == "__main__":
    cli.run_program(main)
