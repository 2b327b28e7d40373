package bus

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

// Headers of a dead letter, beside the original message's own.
const (
	HeaderDeadStage       = "Beat-Dead-Stage"       // route
	HeaderDeadCause       = "Beat-Dead-Cause"       // constant words, see Park
	HeaderDeadError       = "Beat-Dead-Error"       // one line
	HeaderDeadFingerprint = "Beat-Dead-Fingerprint" // equal for letters that failed alike
	HeaderDeadStack       = "Beat-Dead-Stack"       // of a panic; line ends written as \n
	HeaderDeadSubject     = "Beat-Dead-Subject"     // the original's
	HeaderDeadStream      = "Beat-Dead-Stream"
	HeaderDeadSeq         = "Beat-Dead-Seq"
	HeaderDeadAttempts    = "Beat-Dead-Attempts"
	HeaderDeadAt          = "Beat-Dead-At" // RFC 3339, UTC

	// What the message was about, as far as it could be read: see about. So a
	// list of letters needs no bodies.
	HeaderDeadTask   = "Beat-Dead-Task"   // id of the task
	HeaderDeadFence  = "Beat-Dead-Fence"  // of its run
	HeaderDeadFlow   = "Beat-Dead-Flow"   // of the task
	HeaderDeadSource = "Beat-Dead-Source" // of the answer
	HeaderDeadRaw    = "Beat-Dead-Raw"    // id of the raw answer
	HeaderDeadParser = "Beat-Dead-Parser" // version of the source's parser at that time

	deadHeaders = "Beat-Dead-"

	maxDeadError = 2 << 10
	maxDeadStack = 16 << 10
)

// DeadLetter is what the headers of a message of DEAD say.
type DeadLetter struct {
	Stage, Cause, Error, Fingerprint string
	Stack                            string // "" unless the handler panicked
	Subject, Stream                  string // of the original
	Seq                              uint64
	Attempts                         int
	At                               time.Time
	Task, Fence                      int64  // 0: of none, or not readable
	Flow, Source, Raw                string // likewise ""
	Parser                           int    // likewise 0
}

// ReadDead reads the headers of a dead letter.
func ReadDead(h nats.Header) DeadLetter {
	seq, _ := strconv.ParseUint(h.Get(HeaderDeadSeq), 10, 64)
	attempts, _ := strconv.Atoi(h.Get(HeaderDeadAttempts))
	at, _ := time.Parse(time.RFC3339Nano, h.Get(HeaderDeadAt))
	task, _ := strconv.ParseInt(h.Get(HeaderDeadTask), 10, 64)
	fence, _ := strconv.ParseInt(h.Get(HeaderDeadFence), 10, 64)
	parser, _ := strconv.Atoi(h.Get(HeaderDeadParser))
	return DeadLetter{
		Stage:       h.Get(HeaderDeadStage),
		Cause:       h.Get(HeaderDeadCause),
		Error:       h.Get(HeaderDeadError),
		Fingerprint: h.Get(HeaderDeadFingerprint),
		Stack:       strings.NewReplacer(`\\`, `\`, `\n`, "\n").Replace(h.Get(HeaderDeadStack)),
		Subject:     h.Get(HeaderDeadSubject),
		Stream:      h.Get(HeaderDeadStream),
		Seq:         seq,
		Attempts:    attempts,
		At:          at,
		Task:        task,
		Fence:       fence,
		Flow:        h.Get(HeaderDeadFlow),
		Source:      h.Get(HeaderDeadSource),
		Raw:         h.Get(HeaderDeadRaw),
		Parser:      parser,
	}
}

// Original is the message that a dead letter was, to be sent to its subject
// once more. It has no id: the first copy's would make it a duplicate.
func Original(h nats.Header, data []byte) Out {
	own := make(nats.Header, len(h))
	for k, v := range h {
		if !strings.HasPrefix(k, deadHeaders) {
			own[k] = v
		}
	}
	return Out{Subject: h.Get(HeaderDeadSubject), Header: own, Data: data}
}

// letter makes the dead letter of a message. Its id is derived from the
// message, so that a crash between it and the Term stores it once.
func letter(stage string, m *Msg, p *parkError, now time.Time) Out {
	h := make(nats.Header, len(m.Header)+16)
	for k, v := range m.Header {
		if !strings.HasPrefix(k, deadHeaders) {
			h[k] = v
		}
	}
	text := ""
	if p.err != nil {
		text = oneLine(p.err.Error(), maxDeadError)
	}
	for k, v := range map[string]string{
		HeaderDeadStage:       stage,
		HeaderDeadCause:       oneLine(p.cause, maxDeadError),
		HeaderDeadError:       text,
		HeaderDeadFingerprint: Fingerprint(p.cause, text),
		HeaderDeadSubject:     m.Subject,
		HeaderDeadStream:      m.Stream,
		HeaderDeadSeq:         strconv.FormatUint(m.Seq, 10),
		HeaderDeadAttempts:    strconv.Itoa(m.Delivered),
		HeaderDeadAt:          now.UTC().Format(time.RFC3339Nano),
	} {
		h[k] = []string{v}
	}
	about(m, h)
	if len(p.stack) > 0 {
		s := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", "").Replace(string(p.stack))
		h[HeaderDeadStack] = []string{cut(s, maxDeadStack)}
	}
	return Out{
		Subject: deadPrefix + token(stage),
		ID:      fmt.Sprintf("dead/%s/%d/%s", m.Stream, m.Seq, stage),
		Header:  h,
		Data:    m.Data,
	}
}

// Fingerprint is equal for errors that differ in numbers and ids only.
func Fingerprint(cause, text string) string {
	sum := sha256.Sum256([]byte(cause + "\x00" + withoutIDs(text)))
	return hex.EncodeToString(sum[:8])
}

// withoutIDs replaces every word that has a digit in it by "#".
func withoutIDs(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		n, digit := 0, false
		for n < len(s) && wordByte(s[n]) {
			digit = digit || s[n] >= '0' && s[n] <= '9'
			n++
		}
		switch {
		case n == 0:
			b.WriteByte(s[0])
			n = 1
		case digit:
			b.WriteByte('#')
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

func wordByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '-'
}

// oneLine makes s fit a header.
func oneLine(s string, most int) string {
	return cut(strings.Join(strings.Fields(s), " "), most)
}

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// token makes a name fit one subject token.
func token(s string) string {
	if s == "" {
		return "_"
	}
	return strings.Map(func(r rune) rune {
		if r < 0x80 && wordByte(byte(r)) {
			return r
		}
		return '_'
	}, s)
}
