package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
)

// An executor is a REAPI server with content-addressable storage, action cache
// and execution service.
type executor struct {
	address string
	dir     string
}

// startExecutor starts BuildBox. Actions run on this machine without a sandbox, each
// in a folder with its inputs.
func (d *driver) startExecutor() (*executor, error) {
	casd, err := program("buildbox-casd")
	if err != nil {
		return nil, err
	}
	runner := "/usr/bin/buildbox-run-hosttools"
	if len(casd) == 1 { // buildbox-casd is on PATH, with its runner in the same folder
		runner = filepath.Join(filepath.Dir(casd[0]), "buildbox-run-hosttools")
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	e := &executor{dir: filepath.Join(d.scratch, "casd")}
	call := append(casd, fmt.Sprintf("--bind=127.0.0.1:%d", port), "--buildbox-run="+runner, "--jobs=2", e.dir)
	if err := start(d.ctx, port, call...); err != nil {
		return nil, err
	}
	version, err := d.first.command("--version").Output()
	if err != nil {
		return nil, err
	}
	if major, err := majorVersion(version); err != nil {
		return nil, err
	} else if major < 8 {
		if port, err = lowerAPIVersion(port); err != nil {
			return nil, err
		}
	}
	e.address = fmt.Sprintf("grpc://127.0.0.1:%d", port)
	return e, nil
}

// majorVersion finds 7 in "bazel 7.7.1", the output of `bazel --version`.
func majorVersion(output []byte) (int, error) {
	version := bytes.TrimPrefix(output, []byte("bazel "))
	major, _, _ := bytes.Cut(version, []byte("."))
	n, err := strconv.Atoi(string(major))
	if err != nil {
		return 0, fmt.Errorf("bazel --version printed %q, want a version", output)
	}
	return n, nil
}

// has reports whether the storage has a blob, given by its SHA-256.
func (e *executor) has(digest string) bool {
	_, err := os.Stat(filepath.Join(e.dir, "cas/objects", digest[:2], digest[2:]))
	return err == nil
}

// lowerAPIVersion starts a proxy of a gRPC server that also announces REAPI 2.0, and
// returns its port. Bazel 7 supports only 2.0, and refuses a server that announces 2.1
// and newer; its requests are the same in both. Bazel 8 and newer do not need this.
func lowerAPIVersion(port int) (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)})
	proxy.Transport = &http.Transport{Protocols: &protocols}
	proxy.FlushInterval = -1 // streams go both ways
	proxy.ModifyResponse = func(response *http.Response) error {
		if response.Request.URL.Path != "/build.bazel.remote.execution.v2.Capabilities/GetCapabilities" {
			return nil
		}
		message, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		if message, err = withLowAPIVersion(message); err != nil {
			return err
		}
		response.Body = io.NopCloser(bytes.NewReader(message))
		response.ContentLength = -1
		response.Header.Del("Content-Length")
		return nil
	}
	server := &http.Server{Handler: proxy, Protocols: &protocols}
	go server.Serve(listener)
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// withLowAPIVersion changes one gRPC message: a byte that tells whether it is
// compressed, its length, and a ServerCapabilities. It appends field 4,
// low_api_version, a SemVer with major (1) = 2 and minor (2) = 0: the last of several
// values counts.
func withLowAPIVersion(message []byte) ([]byte, error) {
	if len(message) < 5 || message[0] != 0 {
		return nil, fmt.Errorf("GetCapabilities: answer %x is not an uncompressed gRPC message", message)
	}
	message = append(message, 4<<3|2, 4, 1<<3, 2, 2<<3, 0)
	binary.BigEndian.PutUint32(message[1:], uint32(len(message)-5))
	return message, nil
}
