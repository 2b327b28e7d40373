package ratelimit

// Contract is the limits of contract/enrichment.md 6.1 by name. Each holds for a
// provider's host, for all credentials and all processes together. They slide:
// the existing system let twice the number pass around the end of a window.
var Contract = byName(
	Spec{Name: "insta-best-performance", Requests: 2, Seconds: 1},
	Spec{Name: "youtube138", Requests: 850, Seconds: 60},
	Spec{Name: "instagram-scraper2", Requests: 5, Seconds: 1},
	Spec{Name: "instagram-scraper-2022", Requests: 100, Seconds: 30},
	Spec{Name: "youtubev31", Requests: 500, Seconds: 60},
	Spec{Name: "youtubev311", Requests: 3, Seconds: 1},
	Spec{Name: "rocketapi", Requests: 100, Seconds: 30},
)

func byName(specs ...Spec) map[string]Spec {
	m := make(map[string]Spec, len(specs))
	for _, s := range specs {
		s.Sliding = true
		m[s.Name] = s
	}
	return m
}
