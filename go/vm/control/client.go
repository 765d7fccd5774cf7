package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// Do sends a request to the machine at a socket and waits for its response. The
// files are the standard files of a command in the guest. When the context ends,
// the request is cancelled.
func Do(ctx context.Context, socket string, request *Request, files [3]*os.File) (*Response, error) {
	var conn *net.UnixConn
	err := withShortPath(socket, func(path string) (err error) {
		conn, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("the machine is not running: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	line, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	// The descriptors come with the first byte. The rest may take several writes.
	rights := syscall.UnixRights(int(files[0].Fd()), int(files[1].Fd()), int(files[2].Fd()))
	_, _, err = conn.WriteMsgUnix(line[:1], rights, nil)
	if err == nil {
		_, err = conn.Write(append(line[1:], '\n'))
	}
	if err != nil {
		return nil, fmt.Errorf("the machine ended: %w", err)
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		sizes := json.NewEncoder(conn)
		for {
			select {
			case size := <-request.Sizes:
				sizes.Encode(size) // an error shows in the response
			case <-ended:
				return
			}
		}
	}()
	var response Response
	if err := json.NewDecoder(conn).Decode(&response); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("the machine ended: %w", err)
	}
	if response.Error != "" {
		return &response, errors.New(response.Error)
	}
	return &response, nil
}
