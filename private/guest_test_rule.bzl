"""The rule behind qemu_guest_test."""

load(":action.bzl", "machine_with_disks")
load(":disk.bzl", "DISK_ATTRS")
load(":machine.bzl", "with_qemu")
load(":providers.bzl", "QemuVmInfo")
load(":runner.bzl", "ENVIRONMENT_ATTRS", "EXEC_GROUPS", "list_runfiles", "programs_of", "rlocationpath", "run", "target_name", "test_environment", "test_resources")

_ArgsInfo = provider(
    doc = "The arguments of a test target.",
    fields = {"args": "The attribute args, expanded: a list of strings."},
)

def _args_impl(_target, ctx):
    attributes = ctx.rule.attr
    targets = getattr(attributes, "data", []) + getattr(attributes, "srcs", [])
    args = []
    for arg in getattr(attributes, "args", []):
        args += ctx.tokenize(ctx.expand_location(arg, [target for target in targets if type(target) == "Target"]))
    return [_ArgsInfo(args = args)]

# Only an aspect can see the attribute args of another target.
_args = aspect(
    implementation = _args_impl,
    doc = "Reads the arguments of a test.",
)

_PLATFORMS = "//command_line_option:platforms"

def _platform_impl(settings, attr):
    return {_PLATFORMS: str(attr.platform) if attr.platform else settings[_PLATFORMS]}

_platform = transition(
    implementation = _platform_impl,
    inputs = [_PLATFORMS],
    outputs = [_PLATFORMS],
)

def _qemu_guest_test_impl(ctx):
    test = ctx.attr.test[0]
    vm = machine_with_disks(ctx, ctx.attr.vm[QemuVmInfo])
    if vm.machine.config["agent"] == "none":
        fail("%s: a test in the guest needs an agent there, and %s does not have one; set its kernel or agent" % (ctx.label, ctx.attr.vm.label))
    runfiles = test[DefaultInfo].default_runfiles
    manifest = ctx.actions.declare_file(ctx.label.name + ".runfiles.txt")
    list_runfiles(ctx, manifest, runfiles)
    program = test[DefaultInfo].files_to_run.executable
    environment = test_environment(ctx, test[RunEnvironmentInfo] if RunEnvironmentInfo in test else None)
    equipped = with_qemu(ctx, vm)
    programs = programs_of(ctx)
    vm_program = programs.vm.files_to_run.executable  # for --hold
    default = run(
        ctx,
        programs.vmboot,
        {
            "fail_on": ctx.attr.fail_on,
            "guest_test": {
                "args": test[_ArgsInfo].args,
                "env": sorted(environment.environment.keys() + environment.inherited_environment),
                "manifest": rlocationpath(ctx, manifest),
                "program": rlocationpath(ctx, program),
                "user": ctx.attr.user,
            },
            "machine": equipped.config | {"target": target_name(ctx)},
            "vm": rlocationpath(ctx, vm_program),
        },
        ".vm.json",
        [equipped.runfiles, vm.machine.agent_runfiles, runfiles, ctx.runfiles([manifest, program, vm_program])],
    )
    return [
        default,
        test_resources(ctx, vm.machine.config),
        environment,
        coverage_common.instrumented_files_info(ctx, dependency_attributes = ["test"]),
    ]

qemu_guest_test = rule(
    implementation = _qemu_guest_test_impl,
    doc = "The rule behind the macro qemu_guest_test, which documents the attributes.",
    attrs = DISK_ATTRS | ENVIRONMENT_ATTRS | {
        "env": attr.string_dict(
            doc = "environment variables of the test, besides those of `test`, which they replace.",
        ),
        "fail_on": attr.string_list(),
        "platform": attr.label(
            doc = """\
the platform to build `test` for, if the guest has another architecture than the target
platform, as in `"@rules_go//go/toolchain:linux_arm64"`.""",
        ),
        "test": attr.label(
            aspects = [_args],
            cfg = _platform,
            executable = True,
            mandatory = True,
        ),
        "user": attr.string(
            doc = """\
the user that runs the test: NAME, UID, NAME:GROUP or UID:GID, which the guest must
know. The default is root.""",
        ),
        "vm": attr.label(
            mandatory = True,
            providers = [QemuVmInfo],
        ),
        # By this name, `bazel coverage` finds the program that merges the data.
        "_lcov_merger": attr.label(
            cfg = "exec",
            default = configuration_field(
                fragment = "coverage",
                name = "output_generator",
            ),
            executable = True,
        ),
        "_allowlist_function_transition": attr.label(
            default = "@bazel_tools//tools/allowlists/function_transition_allowlist",
        ),
    },
    exec_groups = EXEC_GROUPS,
    test = True,
)
