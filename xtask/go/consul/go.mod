module periplus/consul

go 1.22

require github.com/hashicorp/consul v1.20.0

exclude (
	github.com/hashicorp/go-msgpack v1.1.5
	github.com/hashicorp/go-msgpack v1.1.6
)
