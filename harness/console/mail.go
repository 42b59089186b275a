package console

// decodeQP decodes a line of quoted-printable text (RFC 2045, 6.7) in place.
// What is no code stays.
func decodeQP(l []byte) []byte {
	out := l[:0]
	for i := 0; i < len(l); i++ {
		if l[i] == '=' && i+2 < len(l) && isHex(l[i+1]) && isHex(l[i+2]) && !isLower(l[i+1]) && !isLower(l[i+2]) {
			out = append(out, unhex(l[i+1])<<4|unhex(l[i+2]))
			i += 2
			continue
		}
		out = append(out, l[i])
	}
	return out
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }

func unhex(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c - 'A' + 10
}
