module bench

go 1.24

require github.com/kataras/neffos v0.0.24

require github.com/google/uuid v1.6.0 // indirect
