"""Imports a library from the runfiles, and uses the test's folders."""

import os
import unittest

from guest_tests import library


class PythonTest(unittest.TestCase):
    def test_import(self):
        self.assertEqual(library.ANSWER, 42)

    def test_empty_file(self):
        """Bazel makes this file, which is empty, for each package."""
        path = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"], "guest_tests/__init__.py")
        self.assertEqual(os.path.getsize(path), 0)

    def test_outputs(self):
        for folder in ["TEST_TMPDIR", "TEST_UNDECLARED_OUTPUTS_DIR"]:
            with open(os.path.join(os.environ[folder], "file"), "w", encoding="utf-8") as file:
                file.write("from Python\n")


if __name__ == "__main__":
    unittest.main()
