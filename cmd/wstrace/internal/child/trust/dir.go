package trust

import (
	"os"
	"strings"
)

// prefix begins the names of directories. No other program's begin like this.
const prefix = "wstrace-cmd-"

// makeDir makes a temporary directory, and locks it until the file that it returns is
// closed: others may remove those that are not locked.
func makeDir() (path string, lock *os.File, err error) {
	for range 100 {
		if path, err = os.MkdirTemp("", prefix); err != nil {
			return "", nil, err
		}
		if lock, err = lockDir(path); err == nil {
			return path, lock, nil
		}
		// Another process took it for one that was left behind, before it was locked.
	}
	return "", nil, err
}

// removeStale removes the directories of processes that have ended without doing so.
// It says nothing of what it can't remove.
func removeStale() {
	temp, err := os.OpenRoot(os.TempDir())
	if err != nil {
		return
	}
	defer temp.Close()
	f, err := temp.Open(".")
	if err != nil {
		return
	}
	names, _ := f.Readdirnames(-1)
	f.Close()
	for _, name := range names {
		if strings.HasPrefix(name, prefix) {
			removeIfStale(temp, name)
		}
	}
}
