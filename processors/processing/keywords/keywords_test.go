package keywords

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// vectors are the results of YAKE 0.4.8 on these texts.
var vectors = []struct {
	text, want string
}{
	{"Morning run by the sea. Running keeps me happy and healthy!", `['Morning', 'sea', 'run', 'Running', 'healthy']`},
	{"New vlog is out now! Link in bio. Vlog about Goa travel, Goa food and Goa nightlife.", `['Goa', 'vlog', 'Link', 'bio', 'travel']`},
	{"Best biryani recipe in Hyderabad 🍛 #biryani #foodie #hyderabadfood Try this biryani today", `['Hyderabad', 'foodie', 'biryani', 'hyderabadfood', 'today']`},
	{"Don't miss our NEW collection\nShop the NEW collection now\nSale ends Sunday", `['collection', 'miss', 'Sunday', 'Shop', 'Sale']`},
	{"Check https://example.com/deal and mail me@example.com for collab", `['Check', 'collab']`},
	{"Trip trips TRIP tripping", `['Trip', 'tripping', 'trips']`},
	{"OOTD", `['OOTD']`},
	{`don't "quote" it's l'oreal l'oreal`, `['quote', "l'oreal"]`},
	{"the and of", `[]`},
	{"123 456", `[]`},
	{"नमस्ते दुनिया यह एक परीक्षण है", `['नमस्ते', 'दुनिया', 'परीक्षण']`},
}

func TestOf(t *testing.T) {
	for _, v := range vectors {
		if got := Of(v.text); got != v.want {
			t.Errorf("Of(%q) = %s, want %s", v.text, got, v.want)
		}
	}
	if got := Of(""); got != "" {
		t.Errorf("Of of no text = %q, want none", got)
	}
	if got := Of(" \n"); got != "[]" {
		t.Errorf("Of of a blank text = %q, want []", got)
	}
}

func TestExtract(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"typographic apostrophes", "I don’t think we’ll travel", []string{"travel"}},
		{"HTML entities", "Tom&#39;s kitchen &amp; bar", []string{"Tom", "kitchen", "bar"}},
		{"one candidate of a near-equal pair", "photographerss photographers", []string{"photographerss"}},
		{"invalid UTF-8", "goa\xff beach", []string{"beach", "goa"}},
		{"mixed digits and letters", "4ever 10k sunset", []string{"sunset"}},
	}
	for _, tt := range tests {
		got := Extract(tt.text)
		slices.Sort(got)
		want := slices.Sorted(slices.Values(tt.want))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: Extract(%q) (-want +got):\n%s", tt.name, tt.text, diff)
		}
	}
}

// TestExtractTwice calls from many goroutines: what is kept between calls must
// not be seen.
func TestExtractTwice(t *testing.T) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				for _, v := range vectors {
					if got := Of(v.text); got != v.want {
						t.Errorf("Of(%q) = %s, want %s", v.text, got, v.want)
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestMemo keeps more than fits, asking for one text again and again: that one
// stays, the earliest of the others are gone, and the size is bounded.
func TestMemo(t *testing.T) {
	m := newMemo()
	text := func(i int) string { return strings.Repeat("Goa ", 50) + strconv.Itoa(i) }
	m.keep("asked for", "words")
	for i := range 20_000 {
		m.keep(text(i), strconv.Itoa(i))
		if got, ok := m.of(text(i)); !ok || got != strconv.Itoa(i) {
			t.Fatalf("text %d is %q, %v after it was kept", i, got, ok)
		}
		if i%1000 == 0 {
			if got, ok := m.of("asked for"); !ok || got != "words" {
				t.Fatalf("after %d others, the text asked for is %q, %v", i, got, ok)
			}
		}
	}
	if _, ok := m.of(text(0)); ok {
		t.Error("the first text is still there")
	}
	size := 0
	for _, generation := range []map[string]string{m.young, m.old} {
		for k, v := range generation {
			size += len(k) + len(v) + entrySize
		}
	}
	if size > 2<<20 || size < maxGeneration {
		t.Errorf("%d bytes are kept, want at most 2 MiB and one generation", size)
	}
}

func TestText(t *testing.T) {
	tests := []struct {
		words []string
		want  string
	}{
		{nil, `[]`},
		{[]string{}, `[]`},
		{[]string{"a", "it's"}, `['a', "it's"]`},
		{[]string{`say "hi"`}, `['say "hi"']`},
		{[]string{`it's "hi"`}, `['it\'s "hi"']`},
		{[]string{`a\b`}, `['a\\b']`},
		{[]string{"a\nb\tc\rd\x00\x7f\u00a0"}, `['a\nb\tc\rd\x00\x7f\xa0']`},
		{[]string{"क्\u200dष", "\ue000", "\U000e0001"}, `['क्\u200dष', '\ue000', '\U000e0001']`},
		{[]string{"café", "🍛", "東京"}, `['café', '🍛', '東京']`},
	}
	for _, tt := range tests {
		if got := Text(tt.words); got != tt.want {
			t.Errorf("Text(%q) = %s, want %s", tt.words, got, tt.want)
		}
	}
}

func TestSentences(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"marks", "One! two? Three. four five", []string{"One!", "two?", "Three.", "four five"}},
		{"quote and bracket after the mark", `He said "go." (Really.) Fine`, []string{`He said "go."`, "(Really.)", "Fine"}},
		{"mark inside brackets", "Outfit (link in bio! Use it) here", []string{"Outfit (link in bio! Use it) here"}},
		{"line that begins upper case", "one\nTwo\nthree", []string{"one", "Two three"}},
		{"empty line", "One\n\ntwo", []string{"One  two"}},
		{"space before the mark", "one . Two", []string{"one . Two"}},
		{"abbreviation", "See Dr. Who vs. me, e.g. now. Yes", []string{"See Dr. Who vs. me, e.g. now.", "Yes"}},
		{"list number", "x. 1. Two", []string{"x.", "1. Two"}},
		{"date", "On 5. May it is", []string{"On 5. May it is"}},
		{"initials", "Photo by A.-B. Smith and Samuel L. Jackson", []string{"Photo by A.-B. Smith and Samuel L. Jackson"}},
		{"continuation", "Hm. and so", []string{"Hm. and so"}},
		{"lone word", "Hm. so", []string{"Hm. so"}},
		{"lower case after a quotation", `"Go!" said she`, []string{`"Go!" said she`}},
		{"lower case after a short word", "It is me. then there", []string{"It is me. then there"}},
		{"blank", " \n\t ", nil},
	}
	for _, tt := range tests {
		got := slices.Collect(sentences(joinLines(tt.text)))
		for i, s := range got {
			got[i] = strings.ReplaceAll(s, "\n\n", " ")
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: sentences of %q (-want +got):\n%s", tt.name, tt.text, diff)
		}
	}
}

func TestTokenise(t *testing.T) {
	tests := []struct {
		sentence string
		want     string // tokens, spaces between
	}{
		{"Goa, beach; sea: end.", "Goa , beach ; sea : end ."},
		{"#foodie @user_name a/b", "# foodie @ user _ name a / b"},
		{"t-shirt foo- -foo e.g. 12:30 1,000 a,b wait...", "t-shirt foo - - foo e.g. 12:30 1,000 a,b wait ..."},
		{"don't can't it's we'll l'oreal boys' 'til DON'T", "do n't ca n't it we l'oreal boys' ' til DON'T"},
		{"don’t it’s", "do n’t it"},
		{`he said "go."`, `he said " go . "`},
		{"see https://a.b/c?d=1#e now", "see https://a.b/c?d=1#e now"},
		{"(http://a.b:80/) http://localhost", "( http://a.b:80/ ) http :// localhost"},
		{"write me@a.b.co, or you@c.de", "write me @ a.b.co , or you@c.de"},
		{"AT&amp;T &#128578; a &lt; b", "AT & T 🙂 a < b"},
		{"है, हिन्दी! 東京。", "है , हिन्दी! 東京 。"},
	}
	for _, tt := range tests {
		var tally tally
		tally.tokenise(tt.sentence)
		if got := strings.Join(tally.tokens, " "); got != tt.want {
			t.Errorf("tokens of %q\n got %s\nwant %s", tt.sentence, got, tt.want)
		}
	}
}

// TestAddressUser pins that a URL's user part runs to the next @.
func TestAddressUser(t *testing.T) {
	s := "at https://a.b/c or me@d.ef ok"
	start, end := findAddress(s, 0)
	if got, want := s[start:end], "https://a.b/c or me@d.ef"; got != want {
		t.Errorf("findAddress(%q) = %q, want %q", s, got, want)
	}
}

func TestKindOf(t *testing.T) {
	for r := rune(0); r <= 0x3FFFF; r++ { // no letters or digits behind
		k := kindOf(r)
		if got, want := k&digit != 0, unicode.IsDigit(r); got != want {
			t.Errorf("%U is a digit: %v, want %v", r, got, want)
		}
		if got, want := k&letter != 0, unicode.IsLetter(r); got != want {
			t.Errorf("%U is a letter: %v, want %v", r, got, want)
		}
		if got, want := k&upper != 0, unicode.IsUpper(r); got != want {
			t.Errorf("%U is upper case: %v, want %v", r, got, want)
		}
		want := unicode.IsLetter(r) && !unicode.Is(unicode.Lo, r) || unicode.IsDigit(r) || unicode.Is(unicode.Nl, r)
		if got := isAlnum(r); got != want {
			t.Errorf("%U is part of words: %v, want %v", r, got, want)
		}
		if got, want := r < utf8.RuneSelf && isAlnumASCII(byte(r)), want && r < utf8.RuneSelf; got != want {
			t.Errorf("%U is ASCII and part of words: %v, want %v", r, got, want)
		}
		if c := string(r)[0]; isTerminal(r) && !mayBreak(c) {
			t.Errorf("%U ends sentences, but %#x begins no break", r, c)
		}
	}
}

func TestTagOf(t *testing.T) {
	tests := []struct {
		tok   string
		first bool
		want  tag
	}{
		{"5", false, number},
		{"1,000.5", false, number},
		{"2.", false, number},
		{"1e-5", false, number},
		{"१२", false, number},
		{"NaN", false, number},
		{"infinity", false, number},
		{"1e", false, unusable},
		{"1.2.3", false, unusable},
		{"4ever", false, unusable},
		{"a.b.c", false, unusable},
		{"🍛", false, unusable},
		{"OOTD", true, acronym},
		{"I", true, acronym},
		{"B.TECH", false, plain},
		{"Goa", false, proper},
		{"Goa", true, plain},
		{"GoPro", false, plain},
		{"iPhone", false, plain},
		{"É", false, acronym},
		{"Élan", false, proper},
		{"l'oreal", false, plain},
		{"नमस्ते", false, plain},
	}
	for _, tt := range tests {
		if got := tagOf(tt.tok, tt.first); got != tt.want {
			t.Errorf("tagOf(%q, %v) = %v, want %v", tt.tok, tt.first, got, tt.want)
		}
	}
}

func TestSimilar(t *testing.T) {
	long := strings.Repeat("a", maxCompared+1)
	tests := []struct {
		a, b string
		want bool
	}{
		{"goa", "goa", true},
		{"abcdefghij", "abcdefghix", false},                     // 1 of 10
		{"abcdefghijk", "abcdefghijx", true},                    // 1 of 11
		{"abcdefghijk", "abcdefghij", true},                     // 1 of 11
		{"ééééééééééé", "éééééééééée", true},                    // 1 of 11 characters
		{"éééééééééé", "ééééééééée", false},                     // 1 of 10 characters
		{"abcdefghijklmnopqrst", "abcdefghijklmnopqrxx", false}, // 2 of 20
		{"abcdefghijklmnopqrstu", "xbcdefghijklmnopqrstx", true},
		{long, long[1:] + "b", false}, // too long to compare
	}
	for _, tt := range tests {
		if got, back := similar(tt.a, tt.b), similar(tt.b, tt.a); got != tt.want || back != tt.want {
			t.Errorf("similar(%q, %q) = %v, and %v the other way, want %v", tt.a, tt.b, got, back, tt.want)
		}
	}
}

func TestLn(t *testing.T) {
	exact := map[float64]float64{ // from a correctly rounded library
		1: 0, 2: 0.6931471805599453, 3: 1.0986122886681098, 3.5: 1.252762968495368,
		1.0986122886681098: 0.0940478276166991, 4: 1.3862943611198906, 1000: 6.907755278982137,
	}
	for x, want := range exact {
		if got := ln(x); got != want {
			t.Errorf("ln(%v) = %v, want %v", x, got, want)
		}
	}
	for x := 1.0; x < 1e5; x += 0.5 {
		if got, near := ln(x), math.Log(x); math.Abs(got-near) > 1e-15*near {
			t.Fatalf("ln(%v) = %v, far from %v", x, got, near)
		}
	}
}

func TestStopWords(t *testing.T) {
	words := strings.Fields(stopWordList)
	if !slices.IsSorted(words) || len(slices.Compact(slices.Clone(words))) != len(words) {
		t.Error("stopwords.txt is not sorted, or has a word twice")
	}
	for _, w := range words {
		if strings.ToLower(w) != w {
			t.Errorf("stop word %q is not lower case", w)
		}
	}
}

// giants are texts made to be slow. Each is read in well under a second.
var giants = map[string]string{
	"words":             "abcdefgh ",
	"similar words":     strings.Repeat("international", 9) + " ",
	"brackets":          "(a! (b) [c. [d] ",
	"open brackets":     "[",
	"quotes and an at":  "'@",
	"URLs and no at":    "http://a.b/ ",
	"URLs and an at":    "http://a.b @ ",
	"dots":              ". ",
	"dots without end":  ".",
	"one word":          "a",
	"hyphens":           "a-",
	"commas":            "a,;:,",
	"entities":          "&amp;",
	"half entities":     "&amp",
	"empty lines":       "\n\n",
	"lone words":        "a. b",
	"apostrophes":       "’",
	"Devanagari letter": "न",
}

// giant repeats a text to 1 MiB, counting so that words differ.
func giant(unit string) string {
	var b strings.Builder
	for i := 0; b.Len() < 1<<20; i++ {
		b.WriteString(unit)
		if i%3 == 0 && len(unit) > 8 {
			b.WriteString(string(rune('a'+i%26)) + string(rune('a'+i/26%26)))
		}
	}
	return b.String()
}

func TestExtractGiant(t *testing.T) {
	for name, unit := range giants {
		if got := Extract(giant(unit)); len(got) > maxKeywords {
			t.Errorf("%s: %d keywords, want at most %d", name, len(got), maxKeywords)
		}
	}
}

func FuzzExtract(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.text)
	}
	f.Add("(a! b) [c. http://x.y @ d@e.fg 1. A. &amp;’s\r\n\tZ\xff")
	f.Fuzz(func(t *testing.T, text string) {
		got := Extract(text)
		if len(got) > 5 {
			t.Fatalf("Extract(%q) = %q, want at most 5", text, got)
		}
		for _, w := range got {
			if w == "" || !utf8.ValidString(w) {
				t.Fatalf("Extract(%q) = %q: %q is empty or not UTF-8", text, got, w)
			}
		}
		if again := Extract(text); !slices.Equal(got, again) {
			t.Fatalf("Extract(%q) = %q, then %q", text, got, again)
		}
		for range 2 {
			if s := Of(text); text != "" && s != Text(got) {
				t.Fatalf("Of(%q) = %q, want %q", text, s, Text(got))
			}
		}
		if s := Of(text); s != "" && (s[0] != '[' || s[len(s)-1] != ']' || !utf8.ValidString(s)) {
			t.Fatalf("Of(%q) = %q, want a list", text, s)
		}
	})
}

// captions are as creators write them, in some of their languages.
var captions = []struct{ name, text string }{
	{"English", "Three things I learned this week ☕, and it took longer than we thought, thank you for every message, I read them all.\n\nthe light was gone after ten minutes but this one stayed Link in bio. @creator00123\n#coffee #sundaymood #smallbusiness"},
	{"Hindi", "आज का दिन कुछ खास था 🙏, थोड़ा सा समय और बहुत सारा प्यार, रेसिपी कैप्शन में है आपको कैसा लगा?\n#दिल्ली #घरकाखाना #reelsindia"},
	{"Portuguese", "Café da manhã na praia 🇮🇳, e o coração ficou por lá, a receita completa está nos comentários Até amanhã.\n#praia #receitas #sãopaulo"},
	{"Japanese", "京都の小さなカフェ 🌊, また行きたい場所のひとつ みなさんはどう思いますか?\n#カフェ巡り #京都"},
}

func BenchmarkExtract(b *testing.B) {
	caption := "Best biryani recipe in Hyderabad 🍛 #biryani #foodie #hyderabadfood Try this biryani today, friends!"
	texts := append(captions[:len(captions):len(captions)],
		struct{ name, text string }{"100B", caption},
		struct{ name, text string }{"URL", "Check https://example.com/deal and mail me@example.com for collab"},
		struct{ name, text string }{"2000B", strings.Repeat(caption+"\nNew vlog is out now! Link in bio. Don't miss it…\n", 13)})
	for _, bm := range texts {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(bm.text)))
			for b.Loop() {
				Extract(bm.text)
			}
		})
	}
}

// BenchmarkOf asks for captions that were seen before, and for ones that never
// were.
func BenchmarkOf(b *testing.B) {
	b.Run("again", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			Of(captions[i%len(captions)].text)
			i++
		}
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			Of(captions[i%len(captions)].text + strconv.Itoa(i))
			i++
		}
	})
}

func BenchmarkGiant(b *testing.B) {
	for name, unit := range giants {
		text := giant(unit)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Extract(text)
			}
		})
	}
}
