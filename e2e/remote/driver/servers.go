package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// A server is a process that listens on the loopback device.
type server struct {
	cmd  *exec.Cmd
	log  bytes.Buffer
	done chan struct{}
}

var servers []*server

// program returns the command line of a program on PATH or in the private root of
// bazelw.
func program(name string) ([]string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return []string{path}, nil
	}
	if !privateRoot() {
		return nil, skipped(name + " is not on PATH")
	}
	return []string{filepath.Join(*ruleset, "bootstrap/in-root"), name}, nil
}

// privateRoot reports whether bazelw runs its private Bazel.
func privateRoot() bool {
	switch os.Getenv("BAZELW") {
	case "private":
		return true
	case "system":
		return false
	}
	_, noBazelisk := exec.LookPath("bazelisk")
	_, noBazel := exec.LookPath("bazel")
	return noBazelisk != nil && noBazel != nil
}

// freePort returns a free port. If another process takes it before the server does,
// start fails.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// start runs a server until stopServers, and waits for it to listen.
func start(ctx context.Context, port int, call ...string) error {
	s := &server{cmd: exec.Command(call[0], call[1:]...), done: make(chan struct{})}
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	go func() {
		s.cmd.Wait()
		close(s.done)
	}()
	servers = append(servers, s)
	for range 300 {
		select {
		case <-s.done:
			return fmt.Errorf("%q ended: %s", call, &s.log)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return conn.Close()
		}
	}
	return fmt.Errorf("%q did not listen on port %d within 30 s", call, port)
}

// stopServers ends all servers, by their process ids.
func stopServers() {
	for _, s := range servers {
		s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.done:
		case <-time.After(10 * time.Second):
			syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
			<-s.done
		}
	}
	servers = nil
}

const nginxConfig = `
daemon off;
# One process, as the user who starts it.
master_process off;
error_log stderr;
pid %[1]s/nginx.pid;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/partial;
  proxy_temp_path %[1]s/unused;
  fastcgi_temp_path %[1]s/unused;
  uwsgi_temp_path %[1]s/unused;
  scgi_temp_path %[1]s/unused;
  client_max_body_size 0;
  server {
    listen 127.0.0.1:%[2]d;
    root %[1]s/cache;
    location / {
      dav_methods PUT;
      create_full_put_path on;
    }
  }
}
`

// startHTTPCache starts nginx and returns the address for --remote_cache.
func (d *driver) startHTTPCache() (string, error) {
	nginx, err := program("nginx")
	if err != nil {
		return "", err
	}
	version, err := exec.Command(nginx[0], append(nginx[1:], "-V")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("nginx -V: %w: %s", err, version)
	}
	if !bytes.Contains(version, []byte("http_dav_module")) {
		return "", skipped("nginx lacks the DAV module")
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(d.scratch, "nginx")
	config := filepath.Join(dir, "nginx.conf")
	if err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "cache"), 0o755),
		os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, port), 0o644),
	); err != nil {
		return "", err
	}
	call := append(nginx, "-p", dir, "-e", "stderr", "-c", config)
	return fmt.Sprintf("http://127.0.0.1:%d", port), start(d.ctx, port, call...)
}
