package protocol

// Op is the operation of a request. The comments name the body, the content of the
// data channels, and the content of the result.
type Op uint8

const (
	OpRun       Op = 1 // Run; stdin to the agent, stdout and stderr to the host; Exit
	OpRead      Op = 2 // File; the file's content to the host
	OpWrite     Op = 3 // File; the file's content to the agent
	OpPack      Op = 4 // Tree; a tree to the host
	OpUnpack    Op = 5 // Tree; a tree to the agent
	OpDial      Op = 6 // Dial; both directions of the connection
	OpInfo      Op = 7 // no body; Info
	OpPowerOff  Op = 8
	OpReboot    Op = 9
	OpStat      Op = 10 // File; an error if it does not exist
	OpConfigure Op = 11 // Configure; Clock
	OpRest      Op = 12 // Rest; Rested
	OpFreeze    Op = 13 // no body: stops the guest's programs until a Configure with Thaw
	OpTmpfs     Op = 14 // Tmpfs
)

// Run is the body of OpRun.
type Run struct {
	Args       []string // the first is the program
	Env        []string // KEY=value, added to the agent's defaults
	Dir        string   // "" means the user's home
	User       string   // NAME, UID, NAME:GROUP or UID:GID; "" means root
	TimeLimit  int64    // nanoseconds; 0 means none
	WantStdin  bool     // false: standard input is at its end
	WantStdout bool     // false: the agent discards standard output
	WantStderr bool     // false: the agent discards standard error
	Shell      bool     // the program is the user's shell; Args are its arguments
	Terminal   bool     // the command has a terminal, whose output is standard output
	Rows       uint32   // of the terminal; 0 to 65535
	Columns    uint32   // of the terminal; 0 to 65535
}

func (m *Run) fields(c *coder) {
	c.strings(&m.Args)
	c.strings(&m.Env)
	c.string(&m.Dir)
	c.string(&m.User)
	c.int64(&m.TimeLimit)
	c.bool(&m.WantStdin)
	c.bool(&m.WantStdout)
	c.bool(&m.WantStderr)
	c.bool(&m.Shell)
	c.bool(&m.Terminal)
	c.uint32(&m.Rows)
	c.uint32(&m.Columns)
}

// Exit says how a command ended.
type Exit struct {
	Status   uint32 // the exit status, if Signal is 0
	Signal   uint32 // the signal that ended the process, as Linux numbers it
	TimedOut bool   // the agent killed the command at its time limit
}

func (m *Exit) fields(c *coder) {
	c.uint32(&m.Status)
	c.uint32(&m.Signal)
	c.bool(&m.TimedOut)
}

// File is the body of OpRead and OpWrite.
type File struct {
	Path string // absolute
	Mode uint32 // for OpWrite: permissions of a file that does not exist yet
}

func (m *File) fields(c *coder) {
	c.string(&m.Path)
	c.uint32(&m.Mode)
}

// Tree is the body of OpPack and OpUnpack.
type Tree struct {
	Path        string // absolute
	FollowLinks bool   // OpPack: send the targets of symbolic links
	KeepOwner   bool   // OpUnpack: apply owners, and set-user-ID and set-group-ID bits
	Into        string // OpUnpack: the name of the copy if Path is a directory; "" if Path is its name
}

func (m *Tree) fields(c *coder) {
	c.string(&m.Path)
	c.bool(&m.FollowLinks)
	c.bool(&m.KeepOwner)
	c.string(&m.Into)
}

// Dial is the body of OpDial.
type Dial struct {
	Network string // "tcp" or "unix"
	Address string // HOST:PORT with an IP address or "localhost", or a path
}

func (m *Dial) fields(c *coder) {
	c.string(&m.Network)
	c.string(&m.Address)
}

// Configure is the body of OpConfigure. The agent does what its fields say, in this
// order.
type Configure struct {
	Seed  string // for the guest's random numbers, at most 512 bytes; "" adds none
	Time  int64  // sets the clock, in nanoseconds since 1970 UTC; 0 leaves it
	Links []Link // network cards
	Thaw  bool   // programs that OpFreeze stopped go on
}

func (m *Configure) fields(c *coder) {
	c.string(&m.Seed)
	c.int64(&m.Time)
	n := c.count(len(m.Links))
	if c.decoding {
		m.Links = nil
	}
	for i := 0; i < n && c.err == nil; i++ {
		if c.decoding {
			m.Links = append(m.Links, Link{})
		}
		m.Links[i].fields(c)
	}
	c.bool(&m.Thaw)
}

// Clock is the result of OpConfigure.
type Clock struct {
	Time int64 // nanoseconds since 1970 UTC
}

func (m *Clock) fields(c *coder) { c.int64(&m.Time) }

// Rest is the body of OpRest. The agent answers when the guest has written its page cache to
// its disks and its processors have nothing to do, or at the limit.
type Rest struct {
	Limit int64 // nanoseconds
}

func (m *Rest) fields(c *coder) { c.int64(&m.Limit) }

// Rested is the result of OpRest.
type Rested struct {
	AtRest bool   // false: the limit was reached
	Busy   string // the programs that took the most time of processors: "agetty 0.82 s, systemd 0.31 s"
}

func (m *Rested) fields(c *coder) {
	c.bool(&m.AtRest)
	c.string(&m.Busy)
}

// Tmpfs is the body of OpTmpfs, which mounts a tmpfs.
type Tmpfs struct {
	Path    string // absolute; made if it does not exist
	Mode    uint32 // permissions of the mounted directory, with the sticky bit
	Content int64  // bytes; if they are more than half of the memory that is available, nothing is mounted, and the error is ENOMEM
}

func (m *Tmpfs) fields(c *coder) {
	c.string(&m.Path)
	c.uint32(&m.Mode)
	c.int64(&m.Content)
}

// Link is the configuration of a network card. Of its fields, only MAC is required.
type Link struct {
	MAC        string // finds the card, as in 52:54:00:12:34:56
	NewMAC     string // replaces the address
	Prefix     string // IPv4 address and length of the subnet, as in 10.77.0.2/24
	Nameserver string // IPv4 address for /etc/resolv.conf
	Domain     string // search domain for /etc/resolv.conf
	Hostname   string
}

func (m *Link) fields(c *coder) {
	for _, s := range []*string{&m.MAC, &m.NewMAC, &m.Prefix, &m.Nameserver, &m.Domain, &m.Hostname} {
		c.string(s)
	}
}

// Info describes the guest.
type Info struct {
	Arch      string // as uname -m prints it: x86_64, aarch64
	Kernel    string // its release, as uname -r prints it
	Hostname  string
	OSID      string // ID of /etc/os-release: debian
	OSVersion string // VERSION_ID of /etc/os-release: 12
	OSName    string // PRETTY_NAME of /etc/os-release
	PID1      string // the name of the program of process 1: systemd
	RootFS    string // the type of the file system at /
	Initrd    bool   // / is an initrd, not the real root
	BootID    string // random, the same until the guest boots again
}

func (m *Info) fields(c *coder) {
	for _, s := range []*string{&m.Arch, &m.Kernel, &m.Hostname, &m.OSID, &m.OSVersion, &m.OSName, &m.PID1, &m.RootFS} {
		c.string(s)
	}
	c.bool(&m.Initrd)
	c.string(&m.BootID)
}

// Result ends a request.
type Result struct {
	Errno uint32 // of Linux, if the system refused something
	Error string // "" means success
	Body  string // on success: the encoded message that Op names
}

func (m *Result) fields(c *coder) {
	c.uint32(&m.Errno)
	c.string(&m.Error)
	c.string(&m.Body)
}
