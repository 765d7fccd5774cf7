package vmtest

import (
	"errors"
	"strings"
	"testing"
)

func TestOutput(t *testing.T) {
	o := output{limit: 2 << 20}
	for range 2 {
		if n, err := o.Write(make([]byte, 1<<20)); n != 1<<20 || err != nil {
			t.Fatalf("up to the limit: got %d, %v", n, err)
		}
	}
	if _, err := o.Write(nil); err != nil {
		t.Errorf("nothing, at the limit: %v", err)
	}
	_, err := o.Write([]byte("x"))
	if long := (*longOutputError)(nil); !errors.As(err, &long) || !strings.Contains(err.Error(), "larger than 2 MiB; use Exec with Stdout") {
		t.Errorf("past the limit: got error %v", err)
	}
	if n := o.b.Len(); n != 2<<20 {
		t.Errorf("%d bytes are kept, want %d", n, 2<<20)
	}
}
