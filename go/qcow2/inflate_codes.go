package qcow2

import "encoding/binary"

// codes decompresses a block to dst from byte n on and returns the new n. It ends
// when dst is full.
func (d *inflater) codes(dst []byte, n int) (int, error) {
	var err error
	// In local variables, which can be registers.
	src, pos, buffer, have := d.src, d.pos, d.buffer, d.n
	for n < len(dst) {
		// A length and a distance take up to 48 bits.
		if have < 48 {
			if len(src)-pos >= 8 {
				buffer |= binary.LittleEndian.Uint64(src[pos:]) << (have & 63)
				pos += int((63 - have) >> 3)
				have |= 56
			} else {
				d.pos, d.buffer, d.n = pos, buffer, have
				d.refill()
				pos, buffer, have = d.pos, d.buffer, d.n
				if d.past > 8 { // some of them are used
					err = errInflateShort
					break
				}
			}
		}
		e := d.literals[buffer&(1<<literalBits-1)]
		if e&inflateKinds == inflateTable {
			buffer >>= e & 63
			have -= uint(e & 63)
			e = d.literals[uint64(e>>16)+buffer&(1<<(e>>8&15)-1)]
		}
		bits := buffer
		buffer >>= e & 63
		have -= uint(e & 63)
		if e&inflateKinds == inflateLiteral {
			dst[n] = byte(e >> 16)
			n++
			continue
		}
		if e&inflateKinds != 0 {
			if e&inflateKinds == inflateInvalid {
				err = errInflateCode
			}
			break // the end of the block
		}
		length := int(e>>16) + int(bits&(1<<(e&63)-1)>>(e>>8&15))

		e = d.distances[buffer&(1<<distanceBits-1)]
		if e&inflateKinds == inflateTable {
			buffer >>= e & 63
			have -= uint(e & 63)
			e = d.distances[uint64(e>>16)+buffer&(1<<(e>>8&15)-1)]
		}
		bits = buffer
		buffer >>= e & 63
		have -= uint(e & 63)
		distance := int(e>>16) + int(bits&(1<<(e&63)-1)>>(e>>8&15))
		if e&inflateKinds != 0 {
			err = errInflateCode
			break
		}
		if distance > n {
			err = errInflateDistance
			break
		}
		n += copyMatch(dst, n, distance, min(length, len(dst)-n))
	}
	d.pos, d.buffer, d.n = pos, buffer, have
	return n, err
}

// copyMatch copies length bytes to dst[n] from distance bytes before, and returns
// length. If the two overlap, the bytes repeat.
func copyMatch(dst []byte, n, distance, length int) int {
	from, to := dst[n-distance:], dst[n:]
	switch {
	case distance >= 8 && len(to) >= length+8:
		// Eight bytes at a time, up to seven too many.
		for i := 0; i < length; i += 8 {
			binary.LittleEndian.PutUint64(to[i:], binary.LittleEndian.Uint64(from[i:]))
		}
	case distance == 1:
		value := from[0]
		for i := range to[:length] {
			to[i] = value
		}
	default:
		for i := range length {
			to[i] = from[i]
		}
	}
	return length
}
