"""The module extension that downloads programs in place of compiling them."""

load(":lock.bzl", "PLATFORMS", "PROGRAMS", "parse_lock")
load(":repositories.bzl", "prebuilt_program", "prebuilt_toolchains")

def _prebuilt_impl(module_ctx):
    tag = _tag(module_ctx)
    file = str(tag.file).removeprefix("@@")
    lock = parse_lock(module_ctx.read(tag.file), file)
    if tag.required and not lock:
        fail("%s lists no prebuilt programs, and prebuilt.lock(required = True) asks for them" % file)

    names = {}
    for program, platforms in lock.items():
        for platform, download in platforms.items():
            name = "%s_%s" % (program, platform)
            names[name] = platform
            prebuilt_program(
                name = name,
                lock = file,
                platform = platform,
                program = program,
                sha256 = download["sha256"],
                urls = _urls(download["urls"], tag.mirrors),
            )
    prebuilt_toolchains(
        name = "rules_qcow2_prebuilt",
        lock = file,
        names = names,
        required = tag.required,
    )
    return module_ctx.extension_metadata(reproducible = True)

def _tag(module_ctx):
    """Returns the root module's tag, else that of the ruleset."""
    tags = []
    for module in module_ctx.modules:
        if module.is_root or module.name == "rules_qcow2":
            # The root comes first.
            tags += module.tags.lock
        if module.is_root and len(tags) > 1:
            fail("prebuilt.lock is given %d times, allowed is once" % len(tags))
    return tags[0]

def _urls(urls, mirrors):
    """Returns where to look for a file: the mirrors have it by its last name."""
    file = urls[0].rpartition("/")[2]
    return ["%s/%s" % (mirror.rstrip("/"), file) for mirror in mirrors] + urls

_lock = tag_class(
    doc = """\
Which programs to download. Only the root module's tag counts, and in its
absence the ruleset's own.
""",
    attrs = {
        "file": attr.label(
            doc = """\
The lock file. The default is that of the ruleset: in a release it lists the
programs of the release, in a checkout none.""",
            allow_single_file = True,
            default = Label("//tools/prebuilt:lock.json"),
        ),
        "mirrors": attr.string_list(
            doc = """\
URLs of folders that have the files of a release, to try before the URLs in the
lock file: `https://`, or `file:///` and an absolute path. The default is none.""",
        ),
        "required": attr.bool(
            doc = """\
Whether it is an error if the lock file has nothing for a platform that is
needed. By default, that is compiled from source.""",
        ),
    },
)

prebuilt = module_extension(
    implementation = _prebuilt_impl,
    doc = """\
Registers the prebuilt programs of a release (%s) as toolchains, before those
that are compiled from source. Only what a build needs is downloaded. The
platforms are %s.
""" % (", ".join(PROGRAMS), ", ".join(PLATFORMS)),
    tag_classes = {"lock": _lock},
)
