//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// user is whom a command runs as.
type user struct {
	name     string
	home     string
	shell    string // "" if it is not known
	uid, gid uint32
	groups   []uint32
}

// The guest's files; os/user would read those of the host for the same names in
// tests, and needs cgo for some of it.
var passwdFile, groupFile = "/etc/passwd", "/etc/group"

// lookupUser finds NAME, UID, NAME:GROUP or UID:GID. "" means root, and so does a
// guest without /etc/passwd.
func lookupUser(spec string) (user, error) {
	if spec == "" {
		spec = "0:0"
	}
	name, group, hasGroup := strings.Cut(spec, ":")
	u := user{home: "/"}
	entry := findEntry(passwdFile, 7, name, 2)
	id, err := strconv.ParseUint(name, 10, 32)
	switch {
	case entry != nil:
		uid, err1 := strconv.ParseUint(entry[2], 10, 32)
		gid, err2 := strconv.ParseUint(entry[3], 10, 32)
		if err1 != nil || err2 != nil {
			return u, fmt.Errorf("user %q: bad line in %s", spec, passwdFile)
		}
		u.name, u.home, u.shell, u.uid, u.gid = entry[0], entry[5], entry[6], uint32(uid), uint32(gid)
	case err != nil:
		return u, fmt.Errorf("user %q: %s has no %q", spec, passwdFile, name)
	case !hasGroup:
		return u, fmt.Errorf("user %q: %s has no user %d; name a group: %d:GID", spec, passwdFile, id, id)
	default:
		u.uid = uint32(id)
		if id == 0 {
			u.name, u.home = "root", "/root"
		}
	}
	if hasGroup {
		gid, err := strconv.ParseUint(group, 10, 32)
		if entry := findEntry(groupFile, 4, group, 2); entry != nil {
			gid, err = strconv.ParseUint(entry[2], 10, 32)
		}
		if err != nil {
			return u, fmt.Errorf("user %q: %s has no group %q", spec, groupFile, group)
		}
		u.gid = uint32(gid)
	}
	u.groups = []uint32{u.gid}
	if u.name != "" {
		u.groups = append(u.groups, memberships(u.name, u.gid)...)
	}
	return u, nil
}

// loginShell returns the path of the user's shell. It is /bin/sh if the user's does not
// exist, or only refuses to log in.
func (u *user) loginShell() string {
	switch filepath.Base(u.shell) {
	case "nologin", "false":
	default:
		if info, err := os.Stat(u.shell); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return u.shell
		}
	}
	return "/bin/sh"
}

// findEntry returns the fields of the line whose name, or else whose number in
// field id, is key.
func findEntry(file string, fields int, key string, id int) []string {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var byNumber []string
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) < fields {
			continue
		}
		if f[0] == key {
			return f
		}
		if f[id] == key && byNumber == nil {
			byNumber = f
		}
	}
	return byNumber
}

// memberships returns the groups that list the user, without gid.
func memberships(name string, gid uint32) []uint32 {
	b, err := os.ReadFile(groupFile)
	if err != nil {
		return nil
	}
	var groups []uint32
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) < 4 || !slices.Contains(strings.Split(f[3], ","), name) {
			continue
		}
		if n, err := strconv.ParseUint(f[2], 10, 32); err == nil && uint32(n) != gid {
			groups = append(groups, uint32(n))
		}
	}
	return groups
}
