package vm

import (
	"context"
	"fmt"
	"regexp"
)

// Compile compiles the regular expressions of an attribute.
func Compile(attribute string, patterns []string) ([]*regexp.Regexp, error) {
	var compiled []*regexp.Regexp
	for _, pattern := range patterns {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is not a regular expression in Go's syntax: %w", attribute, pattern, err)
		}
		compiled = append(compiled, re)
	}
	return compiled, nil
}

// An ExpectError says which pattern did not appear.
type ExpectError struct {
	Pattern string // the pattern that was waited for
	Seen    int    // how many patterns had appeared before
	Of      int    // how many patterns were expected
	Err     error  // the context's cause; nil if the machine ended
	End     End    // how it ended
}

func (e *ExpectError) Error() string {
	switch {
	case e.End.Failure != nil:
		return e.End.Failure.Error()
	case e.Err != nil:
		return fmt.Sprintf("the console did not show %q: %v", e.Pattern, e.Err)
	}
	return fmt.Sprintf("%v before the console showed %q", e.End, e.Pattern)
}

func (e *ExpectError) Unwrap() error {
	if e.Err != nil {
		return e.Err
	}
	return e.End.Err()
}

// Expect waits until the console has shown all patterns, in this order. They
// are regular expressions that match within one line; escape sequences are
// removed from a line before. A call sees the text after the last match of the
// call before, of which at most 1 MiB is kept.
func (m *Machine) Expect(ctx context.Context, patterns ...string) error {
	compiled, err := Compile("expect", patterns)
	if err != nil {
		return err
	}
	e := m.console.expect(compiled)
	select {
	case <-e.done:
		return nil
	case <-m.done:
		err = nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	seen := m.console.cancel(e)
	if seen == len(patterns) {
		return nil
	}
	return &ExpectError{Pattern: patterns[seen], Seen: seen, Of: len(patterns), Err: err, End: m.End()}
}
