package snapshot

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Mask replaces what tells whose an answer is, and keeps its form. The same word
// becomes the same other word of the same length everywhere under one mask, so what
// belonged together still does; without its key nobody can tell which it was.
type Mask struct{ key [32]byte }

// NewMask has a key of its own, which is stored nowhere.
func NewMask() *Mask {
	m := &Mask{}
	rand.Read(m.key[:]) //nolint:errcheck // never fails
	return m
}

// Text replaces the words of s: runs of letters and digits of three and more.
// Blanks, punctuation and pictures stay, and so do the words that every answer has.
func (m *Mask) Text(s string) string {
	var out strings.Builder
	for len(s) > 0 {
		n := strings.IndexFunc(s, func(r rune) bool { return !word(r) })
		if n < 0 {
			n = len(s)
		}
		if n == 0 {
			_, n = utf8.DecodeRuneInString(s)
			out.WriteString(s[:n])
		} else {
			out.WriteString(m.word(s[:n]))
		}
		s = s[n:]
	}
	return out.String()
}

func word(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) }

// word goes by the letters, not by their case: captions do not spell handles as
// their owners do.
func (m *Mask) word(w string) string {
	lower := strings.ToLower(w)
	if utf8.RuneCountInString(w) < 3 || common[lower] {
		return w
	}
	h := hmac.New(sha256.New, m.key[:])
	h.Write([]byte(lower)) //nolint:errcheck // never fails
	seed := h.Sum(nil)
	out := make([]byte, 0, len(w))
	i := 0
	for _, r := range w {
		if i == len(seed) {
			h.Reset()
			h.Write(seed) //nolint:errcheck // never fails
			seed, i = h.Sum(nil), 0
		}
		b := seed[i]
		i++
		switch {
		case unicode.IsDigit(r) && len(out) == 0:
			out = append(out, '1'+b%9) // a number does not begin with 0
		case unicode.IsDigit(r):
			out = append(out, '0'+b%10)
		case unicode.IsUpper(r):
			out = append(out, 'A'+b%26)
		default:
			out = append(out, 'a'+b%26)
		}
	}
	return string(out)
}

// common are words of addresses and of enumerations, which parsers go by. A name
// made of nothing else, such as @instagram, stays.
var common = set(`http https www com net org html jpg jpeg png webp mp4 instagram youtube cdninstagram fbcdn graph facebook
	reel reels post posts story stories image images photo video videos carousel album feed igtv clips sidecar live
	watch channel user users hashtag true false null ok public private unlisted youtu
	reach reached impressions saved saves shares engagement engaged comments likes plays count total interactions views
	follows unfollows visits tap taps exit exits replies forward back swipe skips profile activity navigation aggregated lifetime
	day days week online follower followers following audience demographics gender age city country locale bio link
	clicked clicks website email call text message directions accounts reposts avg average watch time completion rate`)

// said are the members whose texts say what kind something is, not whose.
var said = set(`__typename media_type media_product_type product_type type kind status category category_name
	business_category_name account_type privacystatus uploadstatus country currency audiolanguage defaultlanguage
	defaultaudiolanguage livebroadcastcontent projection definition categoryid topiccategories period dimension_keys`)

// Names of members: which identify, and which count.
var (
	identifier = regexp.MustCompile(`(?i)(^|_)(id|ids|pk|pks|fbid|igid|lat|lng|latitude|longitude|zip|zip_code|postal_code)$|phone|(^|[a-z])I[dD]s?$`)
	counting   = regexp.MustCompile(`(?i)count|followers|following|likes|views|plays|value|total|size|width|height|duration|rating|offset|hidden`)
	plain      = regexp.MustCompile(`^-?\d+(\.\d+)?$`)
	idAsName   = regexp.MustCompile(`^\d{5,}$`)
	// Texts that are a time, a duration or a small number.
	timely = regexp.MustCompile(`^(\d{4}-\d\d-\d\d([T ][0-9:.]+(Z|[+-]\d\d:?\d\d)?)?|P[0-9DTHMSW.]+|\d{1,10}(\.\d{1,3})?)$`)
)

func set(words string) map[string]bool {
	out := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		out[w] = true
	}
	return out
}

// errNotJSON is of answers that are not kept.
var errNotJSON = errors.New("the body is no JSON")

// JSON replaces all texts of a body and all numbers that identify, but for what says
// what kind something is, when it was, and how many there are. Names of members
// stay if they are no identifiers, as does their order.
func (m *Mask) JSON(body []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var out bytes.Buffer
	if err := m.value(d, &out, "", 0); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errNotJSON
	}
	return out.Bytes(), nil
}

// deepest bounds how far values lie within each other.
const deepest = 200

func (m *Mask) value(d *json.Decoder, out *bytes.Buffer, name string, depth int) error {
	t, err := d.Token()
	if err != nil || depth > deepest {
		return errNotJSON
	}
	switch t := t.(type) {
	case json.Delim:
		out.WriteRune(rune(t))
		for first := true; d.More(); first = false {
			if !first {
				out.WriteByte(',')
			}
			if t == '{' {
				k, err := d.Token()
				if err != nil {
					return errNotJSON
				}
				name = k.(string) // as the decoder has checked
				if idAsName.MatchString(name) {
					name = m.Text(name)
				}
				put(out, name)
				out.WriteByte(':')
			}
			if err := m.value(d, out, name, depth+1); err != nil {
				return err
			}
		}
		end, err := d.Token()
		if err != nil {
			return errNotJSON
		}
		out.WriteRune(rune(end.(json.Delim)))
	case string:
		put(out, m.member(name, t))
	case json.Number:
		out.WriteString(m.number(name, string(t)))
	case bool:
		fmt.Fprint(out, t)
	case nil:
		out.WriteString("null")
	}
	return nil
}

func (m *Mask) member(name, text string) string {
	switch {
	case said[strings.ToLower(name)],
		timely.MatchString(text) && !identifier.MatchString(name),
		counting.MatchString(name) && strings.Trim(text, "0123456789.") == "":
		return text
	}
	return m.Text(text)
}

// number masks identifiers: by their name, or as they are longer than any count.
func (m *Mask) number(name, text string) string {
	if plain.MatchString(text) && (identifier.MatchString(name) || len(text) >= 15 && !strings.Contains(text, ".")) {
		return m.Text(text)
	}
	return text
}

func put(out *bytes.Buffer, text string) {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	_ = e.Encode(text)          //nolint:errcheck // a text can be written
	out.Truncate(out.Len() - 1) // its line end
}
