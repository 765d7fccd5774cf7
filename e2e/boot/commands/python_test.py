"""Runs a program in a guest from Python."""

import os
import subprocess
import unittest

VM = os.environ["VM"]


def vm(*args, **kwargs):
    return subprocess.run([VM, *args], check=True, capture_output=True, text=True, **kwargs).stdout


class ProgramTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # The machine ends with this process.
        os.environ["VM_SOCKET"] = vm("start", os.environ["MACHINE"]).strip()
        vm("copy", os.environ["PROGRAM"], ":/program")

    def test_output(self):
        self.assertEqual(vm("exec", "--", "/program", "echo", "hello"), "hello\n")

    def test_input(self):
        self.assertEqual(vm("exec", "-i", "--", "/program", "upper", input="text"), "TEXT")

    def test_exit_status(self):
        with self.assertRaises(subprocess.CalledProcessError) as caught:
            vm("exec", "--", "/program", "exit", "3")
        self.assertEqual(caught.exception.returncode, 3)
        self.assertEqual(caught.exception.stderr, "the status is 3\n")


if __name__ == "__main__":
    unittest.main()
