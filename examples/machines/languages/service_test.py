import os
import subprocess
import unittest

VM = os.environ["VM"]


def vm(*args):
    return subprocess.run([VM, *args], check=True, capture_output=True, text=True).stdout


class ServiceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # The machine ends with this process.
        os.environ["VM_SOCKET"] = vm("start", os.environ["MACHINE"]).strip()
        vm("copy", os.environ["SERVICE"], ":/service")
        cls.service = subprocess.Popen([VM, "exec", "--", "/service", "serve", ":80"])
        vm("wait-for", "--", "/service", "get", "http://127.0.0.1/service")

    @classmethod
    def tearDownClass(cls):
        vm("stop")
        cls.service.wait()

    def test_page(self):
        vm("copy", __file__, ":/page")
        with open(__file__) as page:
            self.assertEqual(vm("exec", "--", "/service", "get", "http://127.0.0.1/page"), page.read())

    def test_missing_page(self):
        with self.assertRaises(subprocess.CalledProcessError) as caught:
            vm("exec", "--", "/service", "get", "http://127.0.0.1/missing")
        self.assertEqual(caught.exception.returncode, 1)
        self.assertEqual(caught.exception.stderr, "404 Not Found\n")


if __name__ == "__main__":
    unittest.main()
