package cli_test

// createCalls are calls of qemu-img create, one per line, with spaces between the
// arguments and "" for an empty one. They are the calls for qcow2 in QEMU's own
// test scripts (tests/qemu-iotests, by number), with the image under test named
// t.qcow2, and calls for the rest of the command line. call.prepare creates the
// files that they use.
//
// qemu-img decides at test time which calls are valid. After "=>" is a part of the
// message for a call that qemu-img accepts and qcow2gen refuses.
const createCalls = `# 049 sizes
-f qcow2 t.qcow2 1024
-f qcow2 t.qcow2 1024b
-f qcow2 t.qcow2 1k
-f qcow2 t.qcow2 1K
-f qcow2 t.qcow2 1M
-f qcow2 t.qcow2 1G
-f qcow2 t.qcow2 1T
-f qcow2 t.qcow2 1024.0
-f qcow2 t.qcow2 1024.0b
-f qcow2 t.qcow2 1.5k
-f qcow2 t.qcow2 1.5K
-f qcow2 t.qcow2 1.5M
-f qcow2 t.qcow2 1.5G
-f qcow2 t.qcow2 1.5T
-f qcow2 -o size=1024 t.qcow2
-f qcow2 -o size=1024b t.qcow2
-f qcow2 -o size=1.5k t.qcow2
-f qcow2 -o size=1.5T t.qcow2
-f qcow2 -o size=1024.0b t.qcow2
-f qcow2 t.qcow2 -- -1024
-f qcow2 -o size=-1024 t.qcow2
-f qcow2 t.qcow2 -- -1k
-f qcow2 -o size=-1k t.qcow2
-f qcow2 t.qcow2 -- 1kilobyte
-f qcow2 -o size=1kilobyte t.qcow2
-f qcow2 t.qcow2 -- foobar
-f qcow2 -o size=foobar t.qcow2

# sizes, by the line that is printed
t.qcow2 -- 0x10
-o size=0x1F t.qcow2
t.qcow2 -- 0X10k
-o size=0x1.8 t.qcow2
t.qcow2 -- 0x
-o size=00x1 t.qcow2
t.qcow2 -- 010
-o size=+5 t.qcow2
t.qcow2 -- -0
-o size=1e3 t.qcow2
t.qcow2 -- 1E3
-o size=1e t.qcow2
t.qcow2 -- 1.5e
-o size=.5k t.qcow2
t.qcow2 -- .k
-o size=. t.qcow2
t.qcow2 -- 5.
-o size=5.k t.qcow2
t.qcow2 -- 1.5
-o size=1.5b t.qcow2
t.qcow2 -- 1.0B
-o size=1.0005k t.qcow2
t.qcow2 -- 1.00049k
-o size=0.0000000000000000000000001k t.qcow2
t.qcow2 -- 0.99999999999999999999999k
-o size=1.99999999999999999T t.qcow2
t.qcow2 -- 7.9999999999999999999E
-o size=1kk t.qcow2
t.qcow2 -- 1kB
-o size=20GiB t.qcow2
t.qcow2 -- 1,5k
-o size=inf t.qcow2
t.qcow2 -- nan
-o size=18446744073709551615 t.qcow2
t.qcow2 -- 18446744073709551616
-o size=9223372036854775807 t.qcow2
t.qcow2 -- 9223372036854775808
-o size=0.0001P t.qcow2
t.qcow2 -- 1.1t
-o size=1_000 t.qcow2
t.qcow2 -- 1e-3
-o size=0.5.5k t.qcow2
t.qcow2 -- 1.+5k
-o size=1.-5k t.qcow2
t.qcow2 -- .+5k
-o size=2251799813685248 t.qcow2
t.qcow2 -- 2251799813685249

# 049 options
-f qcow2 -o cluster_size=1024 t.qcow2 64M
-f qcow2 -o cluster_size=1024b t.qcow2 64M
-f qcow2 -o cluster_size=1k t.qcow2 64M
-f qcow2 -o cluster_size=1K t.qcow2 64M
-f qcow2 -o cluster_size=1M t.qcow2 64M
-f qcow2 -o cluster_size=1024.0 t.qcow2 64M
-f qcow2 -o cluster_size=0.5k t.qcow2 64M
-f qcow2 -o cluster_size=0.5M t.qcow2 64M
-f qcow2 -o compat=0.10 t.qcow2 64M
-f qcow2 -o compat=1.1 t.qcow2 64M
-f qcow2 -o compat=0.42 t.qcow2 64M
-f qcow2 -o compat=foobar t.qcow2 64M
-f qcow2 -o preallocation=off t.qcow2 64M
-f qcow2 -o preallocation=metadata t.qcow2 64M
-f qcow2 -o preallocation=1234 t.qcow2 64M
-f qcow2 -o encryption=off t.qcow2 64M
-f qcow2 -o encryption=on t.qcow2 64M
-f qcow2 -o compat=1.1,lazy_refcounts=off t.qcow2 64M
-f qcow2 -o compat=1.1,lazy_refcounts=on t.qcow2 64M
-f qcow2 -o compat=0.10,lazy_refcounts=off t.qcow2 64M
-f qcow2 -o compat=0.10,lazy_refcounts=on t.qcow2 64M

# 082
-f foo -f qcow2 t.qcow2 128M
-f qcow2 -f foo t.qcow2 128M
-f qcow2 -o cluster_size=4k -o lazy_refcounts=on t.qcow2 128M
-f qcow2 -o cluster_size=4k -o lazy_refcounts=on -o cluster_size=8k t.qcow2 128M
-f qcow2 -o cluster_size=4k,cluster_size=8k t.qcow2 128M
-f qcow2 -u -o backing_file=t.qcow2,,help -F qcow2 t.qcow2 128M
-f qcow2 -u -o backing_file=t.qcow2,,? -F qcow2 t.qcow2 128M
-f qcow2 -o backing_file=t.qcow2, -o help t.qcow2 128M
-f qcow2 -o backing_file=t.qcow2 -o ,help t.qcow2 128M
-f qcow2 -o backing_file=t.qcow2 -o ,, -o help t.qcow2 128M
-u -F raw -o backing_file=x -o ,,size=1M t.qcow2
-u -F raw -o backing_file=x, -o ,y t.qcow2 1M
-u -F raw -o backing_file=x,,y -o cluster_size=4k t.qcow2 1M

# options of -o
-o compat=v2 t.qcow2 64M
-o compat=v3 t.qcow2 64M
-o compat=V3 t.qcow2 64M
-o compat= t.qcow2 64M
-o compat t.qcow2 64M
-o cluster_size t.qcow2 64M
-o lazy_refcounts t.qcow2 64M
-o nolazy_refcounts t.qcow2 64M
-o noextended_l2 t.qcow2 64M
-o noencryption t.qcow2 64M
-o lazy_refcounts=yes t.qcow2 64M
-o lazy_refcounts=true t.qcow2 64M
-o lazy_refcounts=y,extended_l2=n t.qcow2 64M
-o lazy_refcounts=no t.qcow2 64M
-o lazy_refcounts=false t.qcow2 64M
-o lazy_refcounts=ON t.qcow2 64M
-o lazy_refcounts=1 t.qcow2 64M
-o lazy_refcounts= t.qcow2 64M
-o LAZY_REFCOUNTS=on t.qcow2 64M
-o id=foo t.qcow2 64M
-o id t.qcow2 64M
-o id,cluster_size=4k t.qcow2 64M
-o foo=bar t.qcow2 64M
-o foo t.qcow2 64M
-o =on t.qcow2 64M
-o help=on t.qcow2 64M
-o nohelp t.qcow2 64M
-o cluster_size=4k, t.qcow2 64M
-o ,cluster_size=4k t.qcow2 64M
-o cluster_size=4k,,lazy_refcounts=on t.qcow2 64M
-o cluster_size=4k,,,lazy_refcounts=on t.qcow2 64M
-o cluster_size=foo,cluster_size=4k t.qcow2 64M
-o size=64M t.qcow2 64M
-o size=1M,size=2M t.qcow2
-o size=9E t.qcow2
-o size=16E t.qcow2
-o size= t.qcow2
-o "" t.qcow2 1M
-o cluster_size=4k -o "" t.qcow2 1M
t.qcow2 ""
-o cluster_size=64 t.qcow2 64M
-o cluster_size=4M t.qcow2 64M
-o cluster_size=65537 t.qcow2 64M
-o cluster_size=0 t.qcow2 64M
-o cluster_size=-64k t.qcow2 64M
-o cluster_size=0x10000 t.qcow2 64M
-o cluster_size=2M t.qcow2 64M
-o cluster_size=512 t.qcow2 64M
-o cluster_size=16E t.qcow2 64M
-o encrypt.format=luks t.qcow2 64M
-o encrypt.key-secret=s t.qcow2 64M
-o encrypt.foo=1 t.qcow2 64M
-o nocow=off t.qcow2 64M
-o nocow=foo t.qcow2 64M
-o extent_size_hint=0 t.qcow2 64M
-o nocow=on t.qcow2 64M  => nocow
-o extent_size_hint=1M t.qcow2 64M  => extent_size_hint
-o preallocation=falloc t.qcow2 1M  => preallocation
-o preallocation=full t.qcow2 1M  => preallocation
-o nocow=on,nocow=off t.qcow2 64M  => nocow
-o extended_l2=on,cluster_size=128k t.qcow2 64M
-o extended_l2=on,cluster_size=8k t.qcow2 64M
-o extended_l2=on,compat=0.10 t.qcow2 64M
-o compression_type=zlib t.qcow2 64M
-o compression_type=zstd t.qcow2 64M
-o compression_type=zstd,compat=0.10 t.qcow2 64M
-o compression_type=foo t.qcow2 64M
-o compression_type= t.qcow2 64M
-o preallocation=metadata,extended_l2=on -b base.qcow2 -F qcow2 t.qcow2 1M
-o preallocation=metadata -b base.qcow2 -F qcow2 t.qcow2 1M

# 112 refcount_bits
-o refcount_bits=0 t.qcow2 64M
-o refcount_bits=-1 t.qcow2 64M
-o refcount_bits=128 t.qcow2 64M
-o refcount_bits=42 t.qcow2 64M
-o refcount_bits=1 t.qcow2 64M
-o refcount_bits=2 t.qcow2 64M
-o refcount_bits=64 t.qcow2 64M
-o compat=0.10,refcount_bits=16 t.qcow2 64M
-o compat=0.10,refcount_bits=1 t.qcow2 64M
-o compat=0.10,refcount_bits=64 t.qcow2 64M
-o refcount_bits=1,cluster_size=512 t.qcow2 64k
-o refcount_bits=0x10 t.qcow2 64M
-o refcount_bits=010 t.qcow2 64M
-o refcount_bits=+8 t.qcow2 64M
-o refcount_bits=16.0 t.qcow2 64M
-o refcount_bits=1k t.qcow2 64M
-o refcount_bits= t.qcow2 64M
-o refcount_bits=0x t.qcow2 64M
-o refcount_bits=08 t.qcow2 64M
-o refcount_bits=18446744073709551616 t.qcow2 64M
-o refcount_bits=4294967312 t.qcow2 64M
-o refcount_bits=1_6 t.qcow2 64M
-o refcount_bits=0o20 t.qcow2 64M
-o refcount_bits=++8 t.qcow2 64M

# 031 036 039 061 098 137 287
-f qcow2 -o compat=1.1,lazy_refcounts=on,refcount_bits=16 t.qcow2 64M
-f qcow2 -o compat=1.1,cluster_size=1k t.qcow2 64M
-f qcow2 -o compat=1.1,lazy_refcounts=on,data_file_raw=off t.qcow2 128M
-f qcow2 -o cluster_size=65536,compression_type=zstd t.qcow2 64M
-f qcow2 -o preallocation=metadata,cluster_size=512 t.qcow2 1M
-f qcow2 t.qcow2 8E
-f qcow2 t.qcow2 1P
-f qcow2 -o cluster_size=2M t.qcow2 1E
-f qcow2 t.qcow2 0
-f qcow2 t.qcow2 1
-f qcow2 t.qcow2 513

# backing files: 110 114 126 153 191 273 301
-f qcow2 -b base.qcow2 t.qcow2 64M
-f qcow2 -b base.qcow2 t.qcow2
-u -f qcow2 -b base.qcow2 t.qcow2 64M
-f qcow2 -b base.qcow2 -F qcow2 t.qcow2 64M
-f qcow2 -b base.qcow2 -F qcow2 t.qcow2
-f qcow2 -b ./base.qcow2 -F qcow2 t.qcow2
-f qcow2 -b base.raw -F raw t.qcow2
-f qcow2 -b base.raw -F raw t.qcow2 128M
-f qcow2 t.qcow2 -b base.qcow2 -F qcow2
-f qcow2 t.qcow2 -b base.qcow2 -F qcow2 1G
-f qcow2 -b odd.raw -F raw t.qcow2
-f qcow2 -b mid.qcow2 -F qcow2 t.qcow2
-f qcow2 -b sub/mid.qcow2 -F qcow2 t.qcow2
-f qcow2 -b ../base.qcow2 -F qcow2 sub/t.qcow2
-f qcow2 -b sub/../base.qcow2 -F qcow2 t.qcow2
-f qcow2 -b base.qcow2 -F qcow2 sub/t.qcow2
-f qcow2 -b base.qcow2 -F qcow2 ./t.qcow2
-f qcow2 -b base.qcow2 -F raw t.qcow2
-f qcow2 -b base.raw -F qcow2 t.qcow2
-f qcow2 -b nope -F raw t.qcow2 1M
-f qcow2 -b nope -F raw t.qcow2
-u -f qcow2 -b nope -F raw t.qcow2 1M
-u -f qcow2 -b nope -F raw t.qcow2
-u -f qcow2 -b nope t.qcow2 1M
-f qcow2 -b base.qcow2 -F vmdk t.qcow2
-f qcow2 -b base.qcow2 -F vmdk t.qcow2 32M
-u -f qcow2 -b base.qcow2 -F vmdk t.qcow2
-u -f qcow2 -b base.qcow2 -F vmdk t.qcow2 32M
-f qcow2 -b base.qcow2 -F garbage t.qcow2 32M
-u -f qcow2 -b base.qcow2 -F garbage t.qcow2 32M
-u -b base.qcow2 -F QCOW2 t.qcow2 32M
-u -b base.qcow2 -F= t.qcow2 32M
-u -b base.qcow2 -F "" t.qcow2 32M
-b base.qcow2 -F "" t.qcow2 32M
-u -b base.qcow2 -F copy-before-write t.qcow2 32M  => qcow2 allows 15
-u -b base.qcow2 -F host_device t.qcow2 32M
-F qcow2 t.qcow2 32M
-o backing_fmt=qcow2 t.qcow2 32M
-o backing_file=base.qcow2 t.qcow2
-o backing_file=base.qcow2,backing_fmt=qcow2 t.qcow2
-o backing_file=base.qcow2 -F qcow2 t.qcow2
-b base.qcow2 -o backing_fmt=qcow2 t.qcow2
-o backing_file=nope,backing_fmt=raw -b base.qcow2 -F qcow2 t.qcow2
-o backing_file=base.qcow2,backing_fmt=qcow2 -b nope t.qcow2
-u -o backing_file=a,,b,backing_fmt=raw t.qcow2 1M
-u -b a,b -F raw t.qcow2 1M
-u -b a'b -F raw t.qcow2 1M
-o backing_file= t.qcow2 1M
-u -o backing_file=,backing_fmt=raw t.qcow2 1M
--backing= -F raw t.qcow2 1M
-b t.qcow2 -F qcow2 t.qcow2 1M
-u -b t.qcow2 -F qcow2 t.qcow2 1M
-b base.qcow2 -F qcow2 base.qcow2
-b file:base.qcow2 -F qcow2 file:base.qcow2
-b sub -F raw t.qcow2 1M
-b sub -F raw t.qcow2
-b ./base.qcow2 -F qcow2 base.qcow2  => backing chain
-b mid.qcow2 -F qcow2 base.qcow2  => backing chain
-u -b ./t.qcow2 -F qcow2 t.qcow2 1M  => backing chain
-b link.qcow2 -F qcow2 base.qcow2  => backing chain
-b link.qcow2 -F qcow2 t.qcow2
-b short.qcow2 -F qcow2 t.qcow2
-b empty.raw -F raw t.qcow2
-b empty.raw -F raw t.qcow2 1M
-b orphan.qcow2 -F qcow2 t.qcow2
-u -b orphan.qcow2 -F qcow2 t.qcow2 1M
-b base.raw -F raw t.qcow2 1M
-b base.raw -F raw t.qcow2 0
-u -b nbd:foo -F raw t.qcow2 1M  => protocol
-u -b a:b -F raw t.qcow2 1M  => protocol
-b a:b -F raw t.qcow2 1M
-u -b json:{} -F raw t.qcow2 1M  => protocol
-b ./a:b -F raw t.qcow2
-u -b ./c:d -F raw t.qcow2 1M
-b file:base.qcow2 -F qcow2 t.qcow2  => working directory
-u -b file:/nope -F qcow2 t.qcow2 1M
-u -b file:nope -F qcow2 t.qcow2 1M  => working directory
-b file:/nope -F qcow2 t.qcow2 1M

# 126 file names
-f qcow2 ./a:b.qcow2 64M
-f qcow2 file:./a:b.qcow2 64M
-f qcow2 -b ./a:b -F raw file:image:top.qcow2
-f qcow2 -b base.qcow2 -F qcow2 file:image:top.qcow2
-f qcow2 -b base.qcow2 -F qcow2 file:sub/t.qcow2
-f qcow2 a:b.qcow2 64M
-f qcow2 file:t.qcow2 64M
-f qcow2 file: 64M
-f qcow2 "" 64M
-f qcow2 sub/ 64M
-f qcow2 sub 64M
-f qcow2 nope/t.qcow2 64M
-f qcow2 base.raw/t.qcow2 64M
-f qcow2 nbd:foo 64M
-f qcow2 t,t.qcow2 64M
-f qcow2 -- -t.qcow2 64M
-f qcow2 - 64M
-f qcow2 base.raw 1M
-f qcow2 link.qcow2 1M
-f qcow2 dangling.qcow2 1M
-f qcow2 /dev/null 1M

# 244 243 308 data files
-o data_file=d.raw t.qcow2 64M
-o data_file=d.raw,data_file_raw=on t.qcow2 1M
-o data_file=d.raw t.qcow2 1000
-o data_file=d.raw,data_file_raw=on t.qcow2 1000
-o data_file=file:d.raw t.qcow2 1M
-o data_file=./d.raw sub/t.qcow2 1M
-o data_file=sub/d.raw t.qcow2 1M
-o data_file=odd.raw t.qcow2 1M
-o data_file=base.raw t.qcow2 1000
-o data_file= t.qcow2 1M
-o data_file=t.qcow2 t.qcow2 1M
-o data_file=./t.qcow2 t.qcow2 1M
-o data_file=sub t.qcow2 1M
-o data_file=nope/d t.qcow2 1M
-o data_file=a:b t.qcow2 1M
-o data_file=file:a:b t.qcow2 1M
-o data_file=file:./a:b t.qcow2 1M
-o data_file=file::b t.qcow2 1M
-o data_file=file:file:d t.qcow2 1M
-o data_file=file: t.qcow2 1M
-o data_file=json:{} t.qcow2 1M
-o data_file=nbd:d t.qcow2 1M
-o data_file=d.raw,compat=0.10 t.qcow2 1M
-o data_file=d.raw -b base.qcow2 -F qcow2 t.qcow2
-o data_file=d.raw,data_file_raw=on -b base.qcow2 -F qcow2 t.qcow2
-o data_file=base.qcow2 -b base.qcow2 -F qcow2 t.qcow2  => backing chain
-o data_file=link.qcow2 -b mid.qcow2 -F qcow2 t.qcow2  => backing chain
-o data_file_raw=on t.qcow2 1M
-o data_file_raw=off t.qcow2 1M
-o data_file_raw=on,data_file=d.raw,preallocation=off t.qcow2 1M
-o data_file=d.raw,preallocation=metadata t.qcow2 1000
-o data_file=d.raw,preallocation=metadata,extended_l2=on t.qcow2 100000
-o data_file=d.raw,preallocation=metadata,cluster_size=512 t.qcow2 100001
-o data_file=d.raw,preallocation=falloc t.qcow2 1M  => preallocation
-o data_file=d.raw,preallocation=metadata t.qcow2 0
-o data_file=d.raw t.qcow2 0
-o keep_data_file=on t.qcow2 1M
-o keep_data_file=true t.qcow2 1M
-o keep_data_file=off t.qcow2 1M
-o keep_data_file=off,data_file=odd.raw t.qcow2 1M
-o keep_data_file=on,data_file=odd.raw t.qcow2 1M
-o keep_data_file=on,data_file=odd.raw,preallocation=off t.qcow2 1M
-o keep_data_file=on,data_file=odd.raw,preallocation=metadata t.qcow2 1M
-o keep_data_file=on,data_file=odd.raw,data_file_raw=on t.qcow2 1M
-o keep_data_file=on,data_file=odd.raw,data_file_raw=on,preallocation=off t.qcow2 1000
-o keep_data_file=on,data_file=base.raw,data_file_raw=on t.qcow2 64k
-o keep_data_file=on,data_file=odd.raw,preallocation=full t.qcow2 1M
-o keep_data_file=on,data_file=odd.raw,preallocation=falloc,data_file_raw=on t.qcow2 1M
-o keep_data_file=on,data_file=nope,data_file_raw=on t.qcow2 1M

# getopt
(nothing)
-f qcow2
t.qcow2
t.qcow2 1M 2M
-q t.qcow2 1M
t.qcow2 1M -q
t.qcow2 -q 1M
-fqcow2 t.qcow2 1M
-qfqcow2 t.qcow2 1M
-quF raw -b nope t.qcow2 1M
-quFraw -bnope t.qcow2 1M
-uq -Braw -b nope t.qcow2 1M
--format qcow2 t.qcow2 1M
--format=qcow2 t.qcow2 1M
--form=qcow2 t.qcow2 1M
--f qcow2 t.qcow2 1M
--options cluster_size=4k t.qcow2 1M
--opt=cluster_size=4k t.qcow2 1M
--o cluster_size=4k t.qcow2 1M
--quiet t.qcow2 1M
--q t.qcow2 1M
--quiet=1 t.qcow2 1M
--backing base.qcow2 --backing-format qcow2 t.qcow2
--backing=base.qcow2 --backing-f=qcow2 t.qcow2
--back base.qcow2 -F qcow2 t.qcow2
--backing-unsafe --backing=nope -F raw t.qcow2 1M
--backing-u --backing=nope -F raw t.qcow2 1M
--backing-unsafe=1 --backing=nope -F raw t.qcow2 1M
-- t.qcow2 1M
t.qcow2 -- 1M
t.qcow2 1M --
-- -q 1M
t.qcow2 1M -- -q
-f
--format
-o
-Z t.qcow2 1M
--foo t.qcow2 1M
---format t.qcow2 1M
--=qcow2 t.qcow2 1M
-f raw t.qcow2 1M  => "raw"
-f vmdk t.qcow2 1M  => "vmdk"
-f QCOW2 t.qcow2 1M
-f -- t.qcow2 1M
--object secret,id=s,data=x t.qcow2 1M  => --object
--object foo t.qcow2 1M
-é t.qcow2 1M
-6 t.qcow2 1M
-e t.qcow2 1M
t.qcow2 -1
-q -q -u -u t.qcow2 1M
`
