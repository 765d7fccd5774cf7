"""Tests of what build actions with machines reserve."""

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//private:action.bzl", "resource_set")

# The processors that an action reserves, each with 1 GiB of memory, by the machine's
# processors and memory.
_RESERVED = {
    (1, "256M"): 1,
    (1, "1024M"): 1,
    (1, "1025M"): 2,
    (1, "2047M"): 2,
    (1, "8193M"): 16,
    (1, "16384M"): 16,
    (2, "256M"): 2,
    (3, "256M"): 4,
    (12, "1024M"): 16,
    (40, "65536M"): 64,
}

def _resources_test_impl(ctx):
    env = unittest.begin(ctx)
    for (cpus, memory), want in _RESERVED.items():
        reserved = resource_set({"cpus": cpus, "memory": memory})("linux", 1)
        asserts.equals(env, {"cpu": want, "memory": 1024 * want}, reserved, "%d processors, %s" % (cpus, memory))
    return unittest.end(env)

_resources_test = unittest.make(_resources_test_impl)

def resource_tests(name):
    """Declares the tests, and a suite of that name.

    Args:
      name: name of the suite.
    """
    unittest.suite(name, _resources_test)
