package qcow2

import (
	"errors"
	"math/bits"
)

// An inflateEntry is an entry of a decoding table. It is found by the next bits of
// the data.
//
//	bits 0–7    number of bits to consume: of the code, and of what follows it
//	bits 8–11   number of bits of the code alone
//	bits 12–15  kind
//	bits 16–31  literal, base of a length or distance, or start of another table
type inflateEntry uint32

const (
	inflateLiteral inflateEntry = 1 << 12
	inflateEnd     inflateEntry = 2 << 12
	inflateTable   inflateEntry = 3 << 12 // bits 8–11 have the number of bits in it
	inflateInvalid inflateEntry = 4 << 12
	inflateKinds   inflateEntry = 15 << 12
)

const (
	maxCodeBits  = 15
	literalBits  = 10 // of the first table
	distanceBits = 8
	precodeBits  = 7
	maxLiterals  = 288
	maxDistances = 32
	// Room for another table for every two of the codes.
	literalEntries  = 1<<literalBits + maxLiterals/2<<(maxCodeBits-literalBits)
	distanceEntries = 1<<distanceBits + maxDistances/2<<(maxCodeBits-distanceBits)
)

// Lengths and distances (RFC 1951, section 3.2.5).
var (
	lengthBase = [...]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthMore = [...]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase   = [...]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distMore   = [...]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// literalSymbols and distanceSymbols have the entry of each symbol, without the
// length of its code.
var literalSymbols, distanceSymbols, precodeSymbols = inflateSymbols()

func inflateSymbols() (literals [maxLiterals]inflateEntry, distances [maxDistances]inflateEntry, precode [19]inflateEntry) {
	for i := range literals {
		switch {
		case i < 256:
			literals[i] = inflateLiteral | inflateEntry(i)<<16
		case i == 256:
			literals[i] = inflateEnd
		case i-257 < len(lengthBase):
			literals[i] = inflateEntry(lengthBase[i-257])<<16 | inflateEntry(lengthMore[i-257])
		default:
			literals[i] = inflateInvalid
		}
	}
	for i := range distances {
		if i < len(distBase) {
			distances[i] = inflateEntry(distBase[i])<<16 | inflateEntry(distMore[i])
		} else {
			distances[i] = inflateInvalid
		}
	}
	for i := range precode {
		precode[i] = inflateEntry(i) << 16
	}
	return literals, distances, precode
}

var errInflateCode = errors.New("a code is not valid")

// buildInflateTable fills table for a code with the given lengths. The first table
// has 1<<firstBits entries; longer codes continue in others after it.
func buildInflateTable(table []inflateEntry, firstBits int, lengths []uint8, symbols []inflateEntry) error {
	var count [maxCodeBits + 1]int
	for _, n := range lengths {
		count[n]++
	}
	count[0] = 0
	longest, used, left := 0, 0, 1
	for n := 1; n <= maxCodeBits; n++ {
		left = left<<1 - count[n]
		if left < 0 {
			return errInflateCode // more codes than there can be
		}
		if count[n] > 0 {
			longest, used = n, used+count[n]
		}
	}
	// As in zlib, a code of one bit may be alone, and there may be no code.
	if left > 0 && (longest > 1 || used > 1) {
		return errInflateCode
	}
	if left > 0 {
		for i := range table[:1<<firstBits] {
			table[i] = inflateInvalid | 1
		}
	}
	// Symbols in the order of their codes.
	var sorted [maxLiterals]uint16
	var offsets, next [maxCodeBits + 2]int
	for n := 1; n <= maxCodeBits; n++ {
		offsets[n+1] = offsets[n] + count[n]
		next[n+1] = (next[n] + count[n]) << 1
	}
	for symbol, n := range lengths {
		if n > 0 {
			sorted[offsets[n]] = uint16(symbol)
			offsets[n]++
		}
	}
	end := 1 << firstBits // of the tables that are in use
	if longest > firstBits {
		clear(table[:end])
	}
	for _, symbol := range sorted[:used] {
		n := int(lengths[symbol])
		code := int(bits.Reverse16(uint16(next[n])) >> (16 - n))
		next[n]++
		entry := symbols[symbol]
		if n <= firstBits {
			entry += inflateEntry(n | n<<8)
			for i := code; i < 1<<firstBits; i += 1 << n {
				table[i] = entry
			}
			continue
		}
		first := code & (1<<firstBits - 1)
		more := longest - firstBits
		if table[first] == 0 {
			table[first] = inflateTable | inflateEntry(firstBits) | inflateEntry(more)<<8 | inflateEntry(end)<<16
			end += 1 << more
		}
		start := int(table[first] >> 16)
		rest := n - firstBits
		entry += inflateEntry(rest | rest<<8)
		for i := code >> firstBits; i < 1<<more; i += 1 << rest {
			table[start+i] = entry
		}
	}
	return nil
}
