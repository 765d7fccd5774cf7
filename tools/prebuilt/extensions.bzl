"""The module extension that downloads programs instead of compiling them."""

load(":lock.bzl", "PLATFORMS", "PROGRAMS", "parse_lock")
load(":repositories.bzl", "prebuilt_program", "prebuilt_toolchains")

def _prebuilt_impl(module_ctx):
    tag = _tag(module_ctx)
    file = str(tag.file).removeprefix("@@")
    lock = parse_lock(module_ctx.read(tag.file), file)
    if tag.required and not lock:
        fail("%s does not list prebuilt programs, which prebuilt.lock(required = True) needs; use the lock file of a release" % file)

    names = []
    for program, platforms in lock.items():
        for platform, download in platforms.items():
            name = "%s_%s" % (program, platform)
            names.append(name)
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
    """Returns the root module's tag, or the ruleset's if it does not have one."""
    tags = []
    for module in module_ctx.modules:
        if module.is_root or module.name == "rules_qcow2":
            # The root module comes first.
            tags += module.tags.lock
        if module.is_root and len(tags) > 1:
            fail("prebuilt.lock is given %d times; use it once" % len(tags))
    return tags[0]

def _urls(urls, mirrors):
    """Returns the URLs of a file: first those of the mirrors, which have it by its base name."""
    file = urls[0].rpartition("/")[2]
    return ["%s/%s" % (mirror.rstrip("/"), file) for mirror in mirrors] + urls

_lock = tag_class(
    doc = """\
Selects the programs to download. Only the root module's tag has an effect; without
it, the ruleset's own.
""",
    attrs = {
        "file": attr.label(
            doc = """\
the lock file. The default is the ruleset's: in a release it lists the programs of
the release, in a checkout none.""",
            allow_single_file = True,
            default = Label("//tools/prebuilt:lock.json"),
        ),
        "mirrors": attr.string_list(
            doc = """\
URLs of folders with the files of a release, which are tried before the URLs in the
lock file: `https://`, or `file:///` and an absolute path.""",
        ),
        "required": attr.bool(
            doc = """\
whether it is an error if the lock file does not have a program for a platform that
needs it. By default, that program is compiled from source.""",
        ),
    },
)

prebuilt = module_extension(
    implementation = _prebuilt_impl,
    doc = """\
Registers the prebuilt programs of a release (%s) as toolchains. They take
precedence over toolchains that are compiled from source. A program is downloaded
when a build needs it. The platforms are %s.
""" % (", ".join(PROGRAMS), ", ".join(PLATFORMS)),
    tag_classes = {"lock": _lock},
)
