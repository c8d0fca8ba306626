package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/decode"
)

// A choice is the value of a flag that takes one of a few words.
type choice struct {
	value string
	of    []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return "word" }

func (c *choice) Set(s string) error {
	if !slices.Contains(c.of, s) {
		return fmt.Errorf("want %s or %s", strings.Join(c.of[:len(c.of)-1], ", "), c.of[len(c.of)-1])
	}
	c.value = s
	return nil
}

// A severity is the value of a flag: nothing less severe is printed.
type severity struct{ choice }

// register gives cmd the flag, which is def unless it is given.
func (s *severity) register(cmd *cobra.Command, def, usage string) {
	s.choice = choice{def, []string{"error", "warning", "info"}}
	cmd.Flags().Var(&s.choice, "severity", usage)
	completeChoice(cmd, "severity", &s.choice)
}

func (s *severity) least() decode.Severity {
	return decode.Severity(slices.Index(s.of, s.value)) // in their order
}

// A size is the value of a flag that takes a number of bytes: 65536, 64KiB,
// 64kB.
type size int

var units = []struct {
	suffix string
	bytes  float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9},
	{"K", 1 << 10}, {"k", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"B", 1}, {"", 1},
}

func (n *size) Type() string { return "size" }

func (n *size) String() string {
	switch {
	case *n%(1<<20) == 0:
		return strconv.Itoa(int(*n>>20)) + "MiB"
	case *n%(1<<10) == 0:
		return strconv.Itoa(int(*n>>10)) + "KiB"
	}
	return strconv.Itoa(int(*n))
}

func (n *size) Set(s string) error {
	v, ok := parseSize(s)
	if !ok || v > math.MaxInt32 {
		return errors.New("want a size such as 64KiB")
	}
	*n = size(v)
	return nil
}

// parseSize returns a number of bytes, at least 1.
func parseSize(s string) (int64, bool) {
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		return int64(f * u.bytes), err == nil && f >= 1 && f*u.bytes < math.MaxInt64
	}
	return 0, false
}

// A count is the value of a flag that takes a number that is not negative.
type count int

func (n *count) Type() string   { return "N" }
func (n *count) String() string { return strconv.Itoa(int(*n)) }

func (n *count) Set(s string) error {
	v, err := strconv.Atoi(s)
	if err != nil || v < 0 {
		return errors.New("want a number, 0 or more")
	}
	*n = count(v)
	return nil
}

// A duration is the value of a flag that takes a time: 10s, 1m30s, or a number of
// seconds.
type duration time.Duration

func (d *duration) Type() string   { return "duration" }
func (d *duration) String() string { return time.Duration(*d).String() }

func (d *duration) Set(s string) error {
	v, err := time.ParseDuration(s)
	if err != nil {
		v, err = time.ParseDuration(s + "s")
	}
	if err != nil {
		return errors.New("want a time such as 10s, or seconds")
	}
	*d = duration(v)
	return nil
}
