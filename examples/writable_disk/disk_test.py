import os
import subprocess
import unittest


class DiskTest(unittest.TestCase):
    def setUp(self):
        # This test's own layer, on top of the disk.
        self.disk = os.path.join(os.environ["TEST_TMPDIR"], self.id() + ".qcow2")
        subprocess.check_call([os.environ["QCOW2GEN"], "layer", "-q", os.environ["DISK"], self.disk])
        self.addCleanup(os.remove, self.disk)

    def test_write(self):
        subprocess.check_call(
            [os.environ["QEMU_IO"], "-f", "qcow2", "-c", "write -P 0x57 1M 64K", "-c", "read -P 0x57 1M 64K", self.disk]
        )


if __name__ == "__main__":
    unittest.main()
