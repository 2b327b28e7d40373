package bus

import (
	"fmt"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
)

// HeaderEncoding says how a body is stored; only "s2" so far, none for plain.
// It is gone from what a handler sees.
const HeaderEncoding = "Beat-Encoding"

const (
	// packFrom: below 1 KB a body shrinks too little to pay for its header.
	packFrom = 1 << 10
	// maxUnpacked bounds what a body may grow to; the HTTP client lets no larger
	// answer in.
	maxUnpacked = 64 << 20
)

// pack shrinks a body on its way to the server. Everything behind it, the
// client's and the server's buffers, the blocks they keep in memory, the disk
// and its syncs, then handles a third of the bytes or less: measured over the
// whole pipeline, half the memory. Compression by the stream itself would save
// disk only, and only once a block is full; zstd costs a tenth more CPU for a
// tenth less memory.
func pack(m *nats.Msg) {
	if len(m.Data) < packFrom || len(m.Header[HeaderEncoding]) > 0 {
		return
	}
	small := s2.Encode(nil, m.Data)
	if len(small) >= len(m.Data) {
		return
	}
	m.Data = small
	m.Header[HeaderEncoding] = []string{"s2"}
}

// Unpack returns the body of a stored message as it was published. h may be
// nil. The error names the encoding, or what is wrong with it.
func Unpack(h nats.Header, data []byte) ([]byte, error) {
	switch e := h.Get(HeaderEncoding); e {
	case "":
		return data, nil
	case "s2":
		n, err := s2.DecodedLen(data)
		if err == nil && n > maxUnpacked {
			err = fmt.Errorf("unpacks to %d bytes, more than %d", n, maxUnpacked)
		}
		var plain []byte
		if err == nil {
			plain, err = s2.Decode(nil, data)
		}
		if err != nil {
			return nil, fmt.Errorf("bus: body of %d bytes: %s: %w", len(data), e, err)
		}
		return plain, nil
	default:
		return nil, fmt.Errorf("bus: body of %d bytes: unknown %s %q", len(data), HeaderEncoding, e)
	}
}
