// Package environ reads and changes an environment: strings of the form
// "NAME=value", of which the last counts if there are several of a name.
package environ

import "strings"

// Get returns the value of the variable name, or "" if it is not set.
func Get(env []string, name string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if n, value, ok := strings.Cut(env[i], "="); ok && n == name {
			return value
		}
	}
	return ""
}

// Set returns a copy of env in which the variable name has this value.
func Set(env []string, name, value string) []string {
	changed := make([]string, 0, len(env)+1)
	for _, v := range env {
		if n, _, ok := strings.Cut(v, "="); !ok || n != name {
			changed = append(changed, v)
		}
	}
	return append(changed, name+"="+value)
}

// Append returns a copy of env in which more stands at the end of the variable name,
// after a blank if it has a value already.
func Append(env []string, name, more string) []string {
	if value := Get(env, name); value != "" {
		more = value + " " + more
	}
	return Set(env, name, more)
}
