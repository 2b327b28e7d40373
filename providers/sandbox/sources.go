package sandbox

import (
	"slices"
	"strings"
)

// The sources that the sandbox answers for.
const (
	GraphAPI      = "graphapi"
	ArrayBobo     = "rapidapi-arraybobo"
	JoTucker      = "rapidapi-jotucker"
	NeoTank       = "rapidapi-neotank"
	BestSolutions = "rapidapi-bestsolutions"
	IGAPI         = "rapidapi-igapi"
	RocketAPI     = "rocketapi"
	Lama          = "lama"
	YTAPI         = "ytapitoken"
	YTPage        = "youtube-page"
)

// Sources are those that Credentials has rows for.
var Sources = []string{GraphAPI, ArrayBobo, YTAPI}

// All is all of them, in the order of the contract.
var All = []string{GraphAPI, ArrayBobo, JoTucker, NeoTank, BestSolutions, IGAPI, RocketAPI, Lama, YTAPI, YTPage}

// A source is one provider: how its calls are told apart and turned away.
type source struct {
	name   string
	key    func(c call) string // the credential that a call came with, "" for none
	says   *manners
	cursor string            // prefix, see appendCursor
	fields map[string]string // credential
	routes []route
}

// table is by the order of All.
var table = []source{
	{GraphAPI, param("access_token"), &graphSays, "AQHS", map[string]string{"token": "sandbox-token", "user_id": "17841400000009999"}, graphRoutes},
	{ArrayBobo, header(rapidKey), &rapidSays, "AQC", rapid("instagram-scraper-2022"), arrayboboRoutes},
	{JoTucker, header(rapidKey), &rapidSays, "AQJ", rapid("instagram-scraper2"), jotuckerRoutes},
	{NeoTank, header(rapidKey), &rapidSays, "AQN", rapid("instagram130"), neotankRoutes},
	{BestSolutions, header(rapidKey), &rapidSays, "AQB", rapid("instagram-api-cheap-best-performance"), bestsolutionsRoutes},
	{IGAPI, header(rapidKey), &rapidSays, "AQG", rapid("igdata"), igapiRoutes},
	{RocketAPI, rocketKey, &rocketSays, "AQR", map[string]string{"Authorization": "Token sandbox-key"}, rocketapiRoutes},
	{Lama, header("X-Access-Key"), &lamaSays, "AQL", map[string]string{"x-access-key": "sandbox-key"}, lamaRoutes},
	{YTAPI, param("key"), &youtubeSays, "", map[string]string{"key": "sandbox-key"}, youtubeRoutes},
	{YTPage, nobody, &pageSays, "", map[string]string{"Cookie": "SOCS=CAI"}, pageRoutes},
}

const rapidKey = "X-Rapidapi-Key"

func param(name string) func(call) string { return func(c call) string { return c.q.Get(name) } }

func header(name string) func(call) string {
	return func(c call) string { return c.r.Header.Get(name) }
}

// rocketKey is what follows the word Token: without it, there is no key.
func rocketKey(c call) string {
	_, key, _ := strings.Cut(c.r.Header.Get("Authorization"), "Token ")
	return key
}

func rapid(host string) map[string]string {
	return map[string]string{"X-RapidAPI-Key": "sandbox-key", "X-RapidAPI-Host": host + ".p.rapidapi.com"}
}

// bySource is a row of table, nil for none.
func bySource(name string) *source {
	if i := slices.Index(All, name); i >= 0 {
		return &table[i]
	}
	return nil
}
