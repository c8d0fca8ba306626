package child

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A process is one that waits for the answer to a system call.
type process struct {
	pid      int      // of the process, not of its thread
	filtered bool     // it is under a seccomp filter
	mem      *os.File // its memory
	file     int      // a descriptor of it
}

// openProcess opens the process of a thread.
func openProcess(tid uint32) (*process, error) {
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", tid), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	p := &process{pid: int(tid), mem: mem}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if id, ok := field(status, "Tgid:"); ok {
		p.pid, _ = strconv.Atoi(id)
	}
	p.filtered = isFiltered(status)
	// The thread may have files of its own. Before Linux 6.9 a thread has no descriptor.
	p.file, err = unix.PidfdOpen(int(tid), unix.O_EXCL)
	if err == unix.EINVAL {
		p.file, err = unix.PidfdOpen(p.pid, 0)
	}
	if err != nil {
		mem.Close()
		return nil, err
	}
	return p, nil
}

func (p *process) close() {
	p.mem.Close()
	unix.Close(p.file)
}

// socket returns a descriptor of ours for the one that the process calls fd.
func (p *process) socket(fd int) (int, error) {
	return unix.PidfdGetfd(p.file, fd, 0)
}

// name returns the name of the process, as ps has it, or "".
func (p *process) name() string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.pid))
	return string(bytes.TrimSuffix(b, []byte("\n")))
}

// signalPends reports whether a signal waits for a thread that it does not block.
func signalPends(tid uint32) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return false
	}
	set := func(key string) uint64 {
		v, _ := field(status, key)
		n, _ := strconv.ParseUint(v, 16, 64)
		return n
	}
	return (set("SigPnd:")|set("ShdPnd:"))&^set("SigBlk:") != 0
}

// field returns the value in the line that begins with key.
func field(lines []byte, key string) (string, bool) {
	for line := range strings.Lines(string(lines)) {
		if v, ok := strings.CutPrefix(line, key); ok {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}

// Filtered reports whether this process is under a seccomp filter itself, which may be
// that of another wstrace.
func Filtered() bool {
	status, _ := os.ReadFile("/proc/self/status")
	return isFiltered(status)
}

// isFiltered reports whether a process with this status is under a seccomp filter.
func isFiltered(status []byte) bool {
	mode, _ := field(status, "Seccomp:")
	return mode == "2" // SECCOMP_MODE_FILTER
}

// descendants returns the processes below pid, as "make[123]".
func descendants(pid int) []string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	parent := make(map[int]int)
	names := make(map[int]string)
	var pids []int
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		// The name stands in parentheses and may hold any character.
		open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
		if open < 0 || end < open {
			continue
		}
		rest := strings.Fields(string(b[end+1:]))
		if len(rest) < 2 || rest[0] == "Z" {
			continue
		}
		parent[id], _ = strconv.Atoi(rest[1])
		names[id] = string(b[open+1 : end])
		pids = append(pids, id)
	}
	var list []string
	for _, id := range pids {
		for up := parent[id]; up != 0; up = parent[up] {
			if up == pid {
				list = append(list, fmt.Sprintf("%s[%d]", names[id], id))
				break
			}
		}
	}
	return list
}
