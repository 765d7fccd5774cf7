package vm

import (
	"context"
	"fmt"

	"github.com/rules-qcow2/rules_qcow2/internal/patterns"
)

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
func (m *Machine) Expect(ctx context.Context, expressions ...string) error {
	compiled, err := patterns.Compile("expect", expressions)
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
	if seen == len(expressions) {
		return nil
	}
	return &ExpectError{Pattern: expressions[seen], Seen: seen, Of: len(expressions), Err: err, End: m.End()}
}
