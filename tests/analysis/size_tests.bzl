"""Tests of sizes in attributes."""

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//private:size.bzl", "parse_size")

# In bytes. tests/generator compares these with qemu-img.
SIZES = {
    ".5G": 536870912,
    "0": 0,
    "0.5K": 512,
    "1024b": 1024,
    "1.0": 1,
    "1.00b": 1,
    "1.1k": 1126,  # to the nearest byte
    "1.5T": 1649267441664,
    "1.G": 1073741824,
    "1K": 1024,
    "1M": 1048576,
    "2P": 2251799813685248,
    "20G": 21474836480,
    "20GiB": 21474836480,  # qemu-img refuses iB
    "20g": 21474836480,
    "21474836480": 21474836480,
    "3.5G": 3758096384,
    "8191P": 9222246136947933184,
    "9223372036854775807": 9223372036854775807,
}

REFUSED = [
    "-1",
    "",
    ".",
    ".5",
    ".G",
    "0.5B",
    "0x10",
    "1 G",
    "1,5G",
    "1.5",
    "1.5.5G",
    "1.5b",
    "1e9",
    "20GB",
    "20Gi",
    "20X",
    "8E",
    "9223372036854775808",
    "G",
    "iB",
    "twenty",
]

def _sizes_test_impl(ctx):
    env = unittest.begin(ctx)
    for size, size_bytes in SIZES.items():
        asserts.equals(env, (size_bytes, None), parse_size(size), size)
    return unittest.end(env)

_sizes_test = unittest.make(_sizes_test_impl)

def _refused_test_impl(ctx):
    env = unittest.begin(ctx)
    for size in REFUSED:
        size_bytes, wrong = parse_size(size)
        asserts.equals(env, None, size_bytes, size)
        asserts.true(env, wrong, "no reason for " + size)
    return unittest.end(env)

_refused_test = unittest.make(_refused_test_impl)

def size_tests(name):
    unittest.suite(name, _sizes_test, _refused_test)
