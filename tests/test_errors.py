"""How the tools end: with one sentence, and out of a process group without a crash."""

import subprocess
import sys

SCRIPT = """
import atexit, sys
import torch.distributed as dist
from ssl_ext.errors import UserError, run_tool

class Torn:
    def __del__(self):
        print("torn down")

torn = Torn()
atexit.register(print, "exit functions ran")

def main():
    if {joins}:
        dist.init_process_group("gloo", init_method="file://{folder}/rendezvous", rank=0, world_size=1)
    if {fails}:
        raise UserError("k is 0; it must be at least 1.")
    print("done", end="")

run_tool(main)
print(", went on", dist.is_initialized())
"""


def run(tmp_path, joins, fails):
    script = SCRIPT.format(joins=joins, fails=fails, folder=tmp_path)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


def test_a_member_of_a_group_ends_without_tearing_the_interpreter_down(tmp_path):
    ended = run(tmp_path, joins=True, fails=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "doneexit functions ran\n"


def test_without_a_group_a_tool_just_returns(tmp_path):
    ended = run(tmp_path, joins=False, fails=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("done, went on False\n")
    assert "torn down" in ended.stdout


def test_an_error_is_one_sentence_and_status_2(tmp_path):
    ended = run(tmp_path, joins=True, fails=True)
    assert ended.returncode == 2
    assert "error: k is 0; it must be at least 1.\n" in ended.stderr
    assert "Traceback" not in ended.stderr
