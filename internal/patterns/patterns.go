// Package patterns compiles the regular expressions of attributes.
package patterns

import (
	"fmt"
	"regexp"
)

// Compile compiles the regular expressions of an attribute, which errors name.
func Compile(attribute string, patterns []string) ([]*regexp.Regexp, error) {
	var compiled []*regexp.Regexp
	for _, pattern := range patterns {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is not a regular expression in Go's syntax: %w", attribute, pattern, err)
		}
		compiled = append(compiled, re)
	}
	return compiled, nil
}
