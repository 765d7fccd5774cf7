package boot

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

func isInternalError(line string) bool {
	return strings.Contains(line, "KVM internal error") || strings.Contains(line, "kvm run failed")
}

// judge returns what is wrong with a run that ended as it did, nil if nothing
// is.
func (r *run) judge(end exit) error {
	if pattern, line := r.matcher.Failure(); pattern != "" {
		return fmt.Errorf("the console showed what must not be there: %q (fail_on: %q)", line, pattern)
	}
	if errors.Is(r.verdict, errLimit) && !r.matcher.Complete() {
		return fmt.Errorf("the console did not show %q within %v", r.matcher.Next(), r.Limit)
	}
	if errors.Is(r.verdict, errLimit) && r.hook != nil && !r.hookPassed {
		return fmt.Errorf("run_while_up was not done within %v", r.Limit)
	}
	if errors.Is(r.verdict, errLimit) {
		return fmt.Errorf("the guest did not end by itself within %v", r.Limit)
	}
	how := r.how(end)
	if r.verdict != nil && r.shutdown == nil && !r.endedByUs(end) {
		// It was QEMU that ended first.
		return fmt.Errorf("%w: %s", r.verdict, how)
	}
	if r.verdict != nil {
		return r.verdict
	}
	if !r.matcher.Complete() {
		return fmt.Errorf("%s before the console showed %q", how, r.matcher.Next())
	}
	if r.machine.RunWhileUp != "" && !r.hookPassed {
		return fmt.Errorf("%s before run_while_up was done", how)
	}
	want := r.machine.ExitStatus
	switch {
	case want == nil:
		return nil
	case end.err != nil || end.signal != nil || end.status != *want:
		return fmt.Errorf("%s, expected is exit status %d", how, *want)
	case *want == 0 && (r.shutdown == nil || r.shutdown.Data.Reason != "guest-shutdown"):
		return fmt.Errorf("%s, expected is that the guest powers off", how)
	}
	return nil
}

// endedByUs reports whether QEMU did what it was told.
func (r *run) endedByUs(end exit) bool {
	return r.quitting && end.err == nil && (end.signal != nil || end.status == 0)
}

// how says how QEMU ended.
func (r *run) how(end exit) string {
	var s string
	switch {
	case end.err != nil:
		s = fmt.Sprintf("QEMU ended in an unknown way (%v)", end.err)
	case end.signal != nil:
		s = fmt.Sprintf("QEMU was killed (%v)", end.signal)
	default:
		s = fmt.Sprintf("QEMU ended with exit status %d", end.status)
	}
	if r.shutdown == nil {
		return s
	}
	switch reason := r.shutdown.Data.Reason; reason {
	case "guest-shutdown":
		if end.status == 0 {
			return "the guest powered off"
		}
	case "guest-reset":
		return "the guest reset the machine"
	case "guest-panic":
		return "the guest reported a panic"
	default:
		s += " (" + reason + ")"
	}
	return s
}

// report makes of an error the one block that a reader of the test's log gets.
func (r *run) report(err error) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%v\n", err)
	fmt.Fprintf(&b, "  after %.1f s under %s; %d of %d patterns seen", time.Since(r.started).Seconds(), r.machine.Accelerator, r.matcher.Seen(), len(r.machine.Expect))
	if next := r.matcher.Next(); next != "" {
		fmt.Fprintf(&b, ", waiting for %q", next)
	}
	b.WriteString("\n")
	if len(r.stderr) > 0 {
		b.WriteString("  QEMU says (qemu.log):\n")
		writeLines(&b, r.stderr)
	}
	if tail := r.matcher.Tail(); len(tail) > 0 {
		b.WriteString("  last lines of the console (console.log has all):\n")
		writeLines(&b, tail)
	} else {
		b.WriteString("  the console is empty\n")
	}
	if r.screenshotError != nil {
		fmt.Fprintf(&b, "  no screenshot: %v\n", r.screenshotError)
	}
	return errors.New(strings.TrimRight(b.String(), "\n"))
}

const (
	maxLines      = 41
	maxLineLength = 300 // in bytes
)

func writeLines(b *strings.Builder, lines []string) {
	if len(lines) > maxLines {
		lines = lines[len(lines)-maxLines:]
	}
	for _, line := range lines {
		if len(line) > maxLineLength {
			line = line[:maxLineLength] + "…"
		}
		fmt.Fprintf(b, "  | %s\n", strings.ToValidUTF8(line, "\uFFFD"))
	}
}
