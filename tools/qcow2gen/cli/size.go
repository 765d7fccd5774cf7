package cli

import (
	"errors"
	"math/bits"
	"strconv"
	"strings"
)

// sizeSyntax describes sizes in messages.
const sizeSyntax = "a number of bytes, or one with the suffix k, M, G, T, P or E for powers of 1024"

var (
	errNoSize       = errors.New("it is not a size; use " + sizeSyntax)
	errSizeNegative = errors.New("it is negative; use " + sizeSyntax)
	errSizeTooLarge = errors.New("it is too large; QEMU supports at most 2^63-1 bytes")
	errSizeFraction = errors.New("it has a fraction of a byte; add a suffix: k, M, G, T, P or E")
	errSizeHex      = errors.New("it is a hexadecimal number with a fraction or a suffix; use 0x and digits only")
)

// sizeSuffixes are in the order of their powers of 1024.
const sizeSuffixes = "BKMGTPE"

// parseSize reads a size in bytes as qemu-img does (util/cutils.c,
// qemu_strtosz): decimal with an optional fraction and one suffix in either
// case, or hexadecimal. "e" is a suffix, not an exponent.
func parseSize(s string) (uint64, error) {
	s = trimNumberStart(s)
	if strings.HasPrefix(s, "-") {
		return 0, errSizeNegative
	}
	if hex, ok := cutHexPrefix(s); ok {
		return parseHexSize(hex)
	}
	digits := countDigits(s)
	whole, rest := s[:digits], s[digits:]
	fraction, hasFraction := "", false
	if after, ok := strings.CutPrefix(rest, "."); ok {
		n := countDigits(after)
		fraction, rest, hasFraction = after[:n], after[n:], true
	}
	if whole == "" && fraction == "" {
		return 0, errNoSize
	}
	power := 0
	if rest != "" {
		power = strings.IndexByte(sizeSuffixes, upper(rest[0]))
		if power < 0 || len(rest) > 1 {
			return 0, errNoSize
		}
	}
	value := uint64(0)
	if whole != "" {
		var err error
		if value, err = strconv.ParseUint(whole, 10, 64); err != nil {
			return 0, errSizeTooLarge
		}
	}
	fixed := uint64(0)
	if hasFraction {
		var carry bool
		if fixed, carry = parseFraction(fraction); carry {
			if value++; value == 0 {
				return 0, errSizeTooLarge
			}
		}
	}
	if power == 0 {
		if fixed != 0 {
			return 0, errSizeFraction
		}
		return value, nil
	}
	return scale(value, fixed, power)
}

// scale multiplies value plus fixed/2^64 by 1024^power and rounds it to the
// nearest integer.
func scale(value, fixed uint64, power int) (uint64, error) {
	factor := uint64(1) << (10 * power)
	high, low := bits.Mul64(value, factor)
	whole, rest := bits.Mul64(fixed, factor)
	low, carry1 := bits.Add64(low, whole, 0)
	low, carry2 := bits.Add64(low, 0, rest>>63)
	if high != 0 || carry1 != 0 || carry2 != 0 {
		return 0, errSizeTooLarge
	}
	return low, nil
}

// parseFraction returns the value of the decimal digits after a point in units
// of 2^-64. It rounds to a double, as qemu-img does. carry reports a fraction
// that is rounded up to 1. Only a fraction of 0 becomes 0.
func parseFraction(digits string) (fixed uint64, carry bool) {
	f, _ := strconv.ParseFloat("0."+digits, 64)
	if f == 1 {
		return 0, true
	}
	fixed = uint64(f * (1 << 32) * (1 << 32))
	if fixed == 0 && strings.Trim(digits, "0") != "" {
		fixed = 1
	}
	return fixed, false
}

func parseHexSize(digits string) (uint64, error) {
	value, err := strconv.ParseUint(digits, 16, 64)
	if errors.Is(err, strconv.ErrRange) {
		return 0, errSizeTooLarge
	}
	if err != nil {
		return 0, errSizeHex
	}
	return value, nil
}

// parseNumber reads a number without a unit as qemu-img does (strtoull with base
// 0): decimal, hexadecimal after 0x, octal after 0.
func parseNumber(s string) (uint64, error) {
	digits, base := trimNumberStart(s), 10
	if hex, ok := cutHexPrefix(digits); ok {
		digits, base = hex, 16
	} else if strings.HasPrefix(digits, "0") {
		base = 8
	}
	value, err := strconv.ParseUint(digits, base, 64)
	if err != nil {
		return 0, errors.New("it is not a number; use decimal, 0x and hexadecimal, or 0 and octal")
	}
	return value, nil
}

// trimNumberStart drops white space and a plus, as C's strtoull does.
func trimNumberStart(s string) string {
	return strings.TrimPrefix(strings.TrimLeft(s, " \t\n\v\f\r"), "+")
}

// cutHexPrefix cuts off "0x" in front of at least one character.
func cutHexPrefix(s string) (digits string, ok bool) {
	if len(s) > 2 && s[0] == '0' && upper(s[1]) == 'X' {
		return s[2:], true
	}
	return s, false
}

func countDigits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

func upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}
