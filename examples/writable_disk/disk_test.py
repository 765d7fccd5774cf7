import os
import subprocess
import unittest


class DiskTest(unittest.TestCase):
    def setUp(self):
        # A layer of this test's own, on top of the disk. Its backing file is
        # an absolute path, as it lies in another folder.
        self.disk = os.path.join(os.environ["TEST_TMPDIR"], self.id() + ".qcow2")
        base = os.path.abspath(os.environ["DISK"])
        subprocess.check_call(
            [os.environ["QCOW2GEN"], "create", "-q", "-b", base, "-F", "qcow2", self.disk]
        )
        self.addCleanup(os.remove, self.disk)

    def test_write(self):
        subprocess.check_call(
            [os.environ["QEMU_IO"], "-f", "qcow2", "-c", "write -P 0x57 1M 64K", "-c", "read -P 0x57 1M 64K", self.disk]
        )


if __name__ == "__main__":
    unittest.main()
