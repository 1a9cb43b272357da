"""`noisy-student` whose stages are fakes that take no time.

python -m tests.workflow.fake_program run --output=DIRECTORY ...
"""

import dataclasses

from tests.workflow.chain.fakes import MODULE
from workflow import __main__ as program
from workflow import stages
from workflow.commands import running


def replace_stages(set_attribute=setattr):
    """Replaces the commands of all stages and of the report."""
    real = stages.Chain.stages

    def fake(chain):
        return {
            name: dataclasses.replace(stage, module=MODULE, beam_options=None)
            for name, stage in real(chain).items()
        }

    set_attribute(stages.Chain, "stages", fake)
    set_attribute(running, "report", lambda config, log: log("reported"))


if __name__ == "__main__":
    replace_stages()
    program.program()
