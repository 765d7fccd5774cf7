"""Test rules for the targets of images."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//:defs.bzl", "Qcow2Info")

def _image_action(env, mnemonic):
    actions = [a for a in analysistest.target_actions(env) if a.mnemonic == mnemonic]
    asserts.equals(env, 1, len(actions), "number of actions that write the image")
    return actions[0]

def _inputs(action):
    """Returns the names of an action's inputs, without the generators."""
    return sorted([f.basename for f in action.inputs.to_list() if f.basename not in ["qcow2convert", "qcow2gen"]])

# The inputs and the command line of the action.
def _action_test_impl(ctx):
    env = analysistest.begin(ctx)
    action = _image_action(env, ctx.attr.mnemonic)
    asserts.equals(env, ctx.attr.inputs, _inputs(action), "inputs")
    for words in ctx.attr.arguments:
        asserts.true(env, words in " ".join(action.argv), "%s is not in %s" % (words, action.argv))
    for word in ctx.attr.no_arguments:
        asserts.false(env, word in action.argv, "%s is in %s" % (word, action.argv))
    return analysistest.end(env)

action_test = analysistest.make(
    _action_test_impl,
    attrs = {
        "arguments": attr.string_list(),
        "inputs": attr.string_list(),
        "mnemonic": attr.string(),
        "no_arguments": attr.string_list(),
    },
)

# The providers of an image target.
def _providers_test_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    info = target[Qcow2Info]
    asserts.equals(env, [info.image], target[DefaultInfo].files.to_list())
    asserts.equals(env, "qcow2", info.format)
    asserts.equals(env, info.image.path + ".json", info.metadata.path)
    asserts.equals(env, ctx.attr.chain, [layer.path for layer in info.chain])
    directory = info.image.dirname + "/"
    for layer in info.chain:
        asserts.equals(env, directory + layer.path, layer.file.path)
        asserts.equals(env, layer.file.basename, layer.target.basename)
    asserts.equals(
        env,
        _paths([info.image] + [layer.file for layer in info.chain]),
        _paths(target[DefaultInfo].default_runfiles.files.to_list()),
    )

    report = [f for f in target[OutputGroupInfo]._validation.to_list() if f.path == info.image.path + ".check.txt"]
    asserts.equals(env, 1, len(report), "number of reports on the image")
    checks = [a for a in analysistest.target_actions(env) if a.mnemonic == "Qcow2Check"]
    asserts.equals(env, report, checks[0].outputs.to_list())
    asserts.equals(env, [info.image.basename], _inputs(checks[0]), "inputs of the check")
    return analysistest.end(env)

def _paths(files):
    return sorted([f.path for f in files])

providers_test = analysistest.make(
    _providers_test_impl,
    attrs = {"chain": attr.string_list()},
)

def _failure_test_impl(ctx):
    env = analysistest.begin(ctx)
    asserts.expect_failure(env, ctx.attr.message)
    return analysistest.end(env)

failure_test = analysistest.make(
    _failure_test_impl,
    attrs = {"message": attr.string()},
    expect_failure = True,
)

def declare_subject(suite, rule, name, attributes):
    """Declares a target for a test of a suite.

    Args:
      suite: a struct with `name` and `tests`, a list to which the test's name is added.
      rule: the rule or macro of the target.
      name: name of the case.
      attributes: a dict of its attributes.

    Returns:
      The names of the test, which the caller declares, and of the target.
    """
    test = "%s_%s" % (suite.name, name)
    subject = test + "_subject"
    rule(
        name = subject,
        tags = ["manual"],
        visibility = ["//visibility:private"],
        **attributes
    )
    suite.tests.append(test)
    return test, subject
