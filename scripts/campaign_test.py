#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""campaign.sh runs the stages that it is told, and says which it cannot."""
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent / "campaign.sh"
STAGES = "sim sweep calls kill powercut fuzz threads mutants"
STAGE = """#!/bin/sh
echo "ran $(basename "$0") $ONLY"
echo '{"stage":"x","cases":1,"violations":0,"seconds":0,"seed":1}' >"$1"
"""


class CampaignTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.scripts = Path(folder.name) / "scripts"
        (self.scripts / "campaign").mkdir(parents=True)
        shutil.copy(SCRIPT, self.scripts)
        for stage in STAGES.split():
            path = self.scripts / "campaign" / f"{stage}.sh"
            path.write_text(STAGE)
            path.chmod(0o755)

    def run_campaign(self, **variables):
        environment = {"PATH": os.environ["PATH"], "ONLY": "", **variables}
        return subprocess.run([str(self.scripts / "campaign.sh")], text=True, env=environment,
                              capture_output=True, check=False)

    def ran(self, **variables):
        ended = self.run_campaign(**variables)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        return [line[4:].strip() for line in ended.stdout.splitlines() if line.startswith("ran ")]

    def refusal(self, **variables):
        ended = self.run_campaign(**variables)
        self.assertEqual((ended.returncode, ended.stdout), (1, ""))
        return ended.stderr

    def test_without_a_stage_all_run(self):
        self.assertEqual(self.ran(), [f"{stage}.sh" for stage in STAGES.split()])

    def test_a_list_of_stages_runs_in_its_order(self):
        self.assertEqual(self.ran(STAGE="kill  sim"), ["kill.sh", "sim.sh"])

    def test_an_unknown_stage_is_answered_with_the_list(self):
        for stage in ("nobody", "sim nobody", "im", "sim\nnobody"):
            with self.subTest(stage):
                self.assertIn(f"there are: {STAGES}", self.refusal(STAGE=stage))

    def test_a_stage_that_cannot_be_executed_is_told(self):
        (self.scripts / "campaign/calls.sh").chmod(0o644)
        self.assertIn("calls.sh is not executable", self.refusal())

    def test_only_goes_with_one_stage_that_has_rows(self):
        self.assertEqual(self.ran(STAGE="kill", ONLY="archive"), ["kill.sh archive"])
        for stage in ("", "sim kill", "threads"):
            with self.subTest(stage):
                self.assertIn("ONLY", self.refusal(STAGE=stage, ONLY="archive"))

    def test_every_stage_with_rows_hands_only_on(self):
        for stage in STAGES.split():
            with self.subTest(stage):
                text = (SCRIPT.parent / "campaign" / f"{stage}.sh").read_text()
                self.assertEqual("ONLY" in text, stage != "threads")


if __name__ == "__main__":
    unittest.main()
