package vm

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// An error tells who failed, and so does its report.
func TestWhoFailed(t *testing.T) {
	soonOver := func(ctx context.Context) context.Context {
		ctx, cancel := context.WithTimeoutCause(ctx, 50*time.Millisecond, &TimeError{"it took too long"})
		t.Cleanup(cancel)
		return ctx
	}
	for behaviour, test := range map[string]struct {
		call func(ctx context.Context, m *Machine) error
		want error
	}{
		"runs":                      {func(ctx context.Context, m *Machine) error { return m.Expect(soonOver(ctx), "never") }, context.DeadlineExceeded},
		"powers off":                {func(ctx context.Context, m *Machine) error { return m.Expect(ctx, "never") }, ErrGuest},
		"panics":                    {func(ctx context.Context, m *Machine) error { return m.Expect(ctx, "never") }, ErrGuest},
		"dies after cont":           {func(ctx context.Context, m *Machine) error { return m.Expect(ctx, "never") }, ErrHost},
		"has KVM errors after cont": {func(ctx context.Context, m *Machine) error { return m.Expect(ctx, "never") }, ErrHost},
		"has no space after cont":   {func(ctx context.Context, m *Machine) error { return m.Expect(ctx, "never") }, ErrHost},
	} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			m := startFake(t, behaviour, soon)
			err := m.Report(test.call(t.Context(), m))
			for _, who := range []error{ErrGuest, ErrHost, context.DeadlineExceeded} {
				if got, want := errors.Is(err, who), who == test.want; got != want {
					t.Errorf("errors.Is(err, %v) is %v, want %v: %v", who, got, want, err)
				}
			}
			begin := "\n  " + strings.Replace(test.want.Error(), "context deadline exceeded", "the time ran out", 1) + ", after "
			if !strings.Contains(err.Error(), begin) {
				t.Errorf("the report does not begin with %q: %v", begin, err)
			}
		})
	}
}
