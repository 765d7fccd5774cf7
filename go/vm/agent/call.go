package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

// call is an open request. Its result method ends it.
type call struct {
	*protocol.Request
	c       *Client
	ctx     context.Context
	unwatch func() bool
	opened  chan struct{} // closed when Request is set, or will not be

	aborting sync.Once
	grace    *time.Timer // set by abort
}

// open begins a request and sends its body. When ctx is done, it asks the agent to
// end the request; if the agent does not confirm that, the session fails. So a
// guest that hangs cannot hold up the caller, not even in a write to it.
func (c *Client) open(ctx context.Context, op protocol.Op, body protocol.Message) (*call, error) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.Done():
		return nil, c.Err()
	}
	k := &call{c: c, ctx: ctx, opened: make(chan struct{})}
	k.unwatch = context.AfterFunc(ctx, func() { k.abort(context.Cause(ctx)) })
	var err error
	k.Request, err = c.session.Open(op, body)
	close(k.opened)
	if err != nil {
		return nil, k.end(err)
	}
	// An agent that has enough of the body has a result already, which says more.
	if err := k.SendBody(); err != nil && !errors.Is(err, protocol.ErrRequestOver) {
		if resultErr := k.result(nil); resultErr != nil {
			err = resultErr
		}
		return nil, err
	}
	return k, nil
}

// abort asks the agent to end the request, for the reason why. It does not wait.
// The caller still calls result.
func (k *call) abort(why error) {
	k.aborting.Do(func() {
		k.grace = time.AfterFunc(k.c.grace, func() {
			k.c.fail(fmt.Errorf("the guest did not end a canceled request within %v", k.c.grace))
		})
		go func() {
			<-k.opened
			if k.Request != nil {
				k.Cancel(why)
			}
		}()
	})
}

// result waits for the result and decodes its body into m, which may be nil.
func (k *call) result(m protocol.Message) error { return k.end(k.Result(m)) }

// end releases the slot and the timers of the request. It returns err, or why the request was
// canceled if that is the cause of err.
func (k *call) end(err error) error {
	k.unwatch()
	k.aborting.Do(func() {}) // abort is too late, or has set grace
	if k.grace != nil {
		k.grace.Stop()
	}
	<-k.c.slots
	if err == nil || k.ctx.Err() == nil {
		return err
	}
	if sessionErr := k.c.Err(); sessionErr != nil {
		// It is not why the request failed, so errors.Is must not find it.
		return fmt.Errorf("%w (%v)", context.Cause(k.ctx), sessionErr)
	}
	return context.Cause(k.ctx)
}

// do makes a request that has no data channels.
func (c *Client) do(ctx context.Context, op protocol.Op, body, result protocol.Message) error {
	k, err := c.open(ctx, op, body)
	if err != nil {
		return err
	}
	return k.result(result)
}
