package sandbox

import (
	"strconv"
	"strings"
)

// A phrase is text twice: as UTF-8 and with escapes, both ready to stand
// inside a JSON string.
type phrase struct{ utf8, ascii string }

func (p phrase) in(esc bool) string {
	if esc {
		return p.ascii
	}
	return p.utf8
}

// words is what names, biographies and captions are made of.
type words struct {
	langs  []lang
	emoji  []phrase
	first  []phrase
	second []phrase
	jobs   []phrase
}

// A lang is one language of captions: how they begin, go on, end, and tag.
type lang struct{ opens, mids, ends, tags []phrase }

func phrases(text string) []phrase {
	var ps []phrase
	for s := range strings.SplitSeq(text, "|") {
		ps = append(ps, phrase{strings.ReplaceAll(s, "\n", `\n`), ascii(s)})
	}
	return ps
}

func newWords() *words {
	w := &words{
		emoji:  phrases("🔥|✨|❤️|😍|🙏|🌊|☕|🎉|💪|🌿|📸|🇮🇳|👩‍🍳|🥹|🌎|🎧"),
		first:  phrases("Asha|Mateo|Lívia|Noor|Jonas|Yuki|Chloé|Arjun|Dewi|Søren|Zeynep|Ravi|Inés|Kofi|प्रिया|さくら"),
		second: phrases("Kapoor|Ferreira|Lindqvist|Okafor|Tanaka|Moreau|Iyer|Santoso|Novák|Reyes|Öztürk|Bakery|Studio|Eats|Travels|Fit"),
		jobs:   phrases("Coffee by the water|Food, slowly|Cartas de viaje|Runner. Reader. Mum of two|घर का खाना|Fotografia e silêncio|毎日の小さな発見|Resep rumahan setiap hari"),
	}
	for _, t := range [][4]string{
		{"New beans are in|Market day with friends|Three things I learned this week|Sunday, slowly|We finally did it|Somewhere between the dock and the bakery",
			"and it took longer than we thought|so here is the whole story, start to finish|thank you for every message, I read them all|the light was gone after ten minutes but this one stayed|recipe in the next slide, save it for later",
			"What would you have done?|Link in bio.|Tag someone who needs this.|More tomorrow.",
			"#coffee|#lake|#sundaymood|#smallbusiness|#ad|#fitness"},
		{"Domingo en casa|Hoy probamos algo nuevo|Lo que nadie te cuenta del mar|Receta de la abuela",
			"con mucho limón y sin prisa|y salió mejor de lo que esperábamos|gracias por tanto cariño, de verdad|paso a paso en el vídeo",
			"¿Cuál es tu favorita?|Guárdalo para después.|Mañana más.",
			"#receta|#viajes|#mediterráneo|#hechoencasa"},
		{"आज का दिन कुछ खास था|घर पर बनी दाल|दिल्ली की सर्दियाँ|माँ के हाथ का स्वाद",
			"थोड़ा सा समय और बहुत सारा प्यार|रेसिपी कैप्शन में है|सबको बहुत बहुत धन्यवाद",
			"आपको कैसा लगा?|कमेंट में बताइए|कल फिर मिलेंगे",
			"#दिल्ली|#घरकाखाना|#desifood|#reelsindia"},
		{"Café da manhã na praia|Mais um dia de treino|Segredos da cozinha mineira|São Paulo às seis",
			"e o coração ficou por lá|sem filtro e sem pressa|a receita completa está nos comentários",
			"Conta pra mim!|Salva esse post.|Até amanhã.",
			"#praia|#treino|#receitas|#sãopaulo"},
		{"朝の散歩|新しいレシピを試しました|京都の小さなカフェ",
			"とてもおいしかったです|また行きたい場所のひとつ|詳しくはプロフィールのリンクから",
			"みなさんはどう思いますか?|また明日。",
			"#カフェ巡り|#京都|#おうちごはん"},
		{"Pagi di pasar|Resep sambal ibu|Akhir pekan di pantai",
			"enak, pedas, dan gampang dibuat|terima kasih sudah mampir|simpan dulu, masak nanti",
			"Kamu tim yang mana?|Sampai besok!",
			"#resep|#kuliner|#liburan"},
	} {
		w.langs = append(w.langs, lang{phrases(t[0]), phrases(t[1]), phrases(t[2]), phrases(t[3])})
	}
	return w
}

func pick(ps []phrase, h uint64) phrase { return ps[h%uint64(len(ps))] }

// appendName appends the full name of a, a JSON string.
func (w *words) appendName(b []byte, a account, esc bool) []byte {
	b = append(append(b, '"'), pick(w.first, a.between(10, 0, 999)).in(esc)...)
	b = append(append(b, ' '), pick(w.second, a.between(11, 0, 999)).in(esc)...)
	return append(b, '"')
}

// appendBio appends the biography of a, a JSON string.
func (w *words) appendBio(b []byte, a account, esc bool) []byte {
	b = append(append(b, '"'), pick(w.jobs, a.between(12, 0, 999)).in(esc)...)
	b = append(append(b, ' '), pick(w.emoji, a.between(13, 0, 999)).in(esc)...)
	b = append(append(b, `\n@`...), a.handle...)
	return append(b, '"')
}

// appendCaption appends the caption of p, a JSON string. One in four speaks
// at length, one in five names another creator.
func (w *words) appendCaption(b []byte, a account, p item, esc bool) []byte {
	h := hash(p.seed, 20)
	own := a.between(14, 0, uint64(len(w.langs)-1))
	if h%5 == 0 {
		own = h >> 40 % uint64(len(w.langs)) // not always in one's own language
	}
	l := w.langs[own]
	b = append(append(b, '"'), pick(l.opens, h>>3).in(esc)...)
	b = append(append(b, ' '), pick(w.emoji, h>>7).in(esc)...)
	mids := 1 + int(h>>11&1)
	if h>>12&3 == 0 {
		mids = 5
	}
	for i := range mids {
		sep := `, `
		if i > 0 && i%2 == 0 {
			sep = `.\n\n`
		}
		b = append(append(b, sep...), pick(l.mids, h>>14+uint64(i)).in(esc)...)
	}
	b = append(append(b, ` `...), pick(l.ends, h>>20).in(esc)...)
	if h>>24%5 == 0 {
		b = append(b, ` @creator`...)
		b = appendFive(b, h>>26%100000)
	}
	b = append(b, `\n`...)
	for i := range 2 + h>>50%3 {
		b = append(append(b, pick(l.tags, h>>30+i).in(esc)...), ' ')
	}
	switch {
	case a.tag == "":
		b = b[:len(b)-1]
	case esc:
		b = append(append(b, '#'), ascii(a.tag)...)
	default:
		b = append(append(b, '#'), a.tag...)
	}
	return append(b, '"')
}

// appendRemark appends what a says below a post, a JSON string.
func (w *words) appendRemark(b []byte, a account, seed uint64) []byte {
	l := w.langs[a.between(14, 0, uint64(len(w.langs)-1))]
	b = append(append(b, '"'), pick(l.mids, seed>>5).utf8...)
	b = append(append(b, ' '), pick(w.emoji, seed>>15).utf8...)
	if seed>>25%4 == 0 {
		b = append(append(b, ' '), pick(l.ends, seed>>27).utf8...)
	}
	return append(b, '"')
}

// appendFive appends n in five digits or more.
func appendFive(b []byte, n uint64) []byte {
	for d := uint64(10000); d > n && d > 1; d /= 10 {
		b = append(b, '0')
	}
	return strconv.AppendUint(b, n, 10)
}
