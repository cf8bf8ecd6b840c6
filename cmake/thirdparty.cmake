# SPDX-License-Identifier: BSD-2-Clause
# Libraries of others that are linked in, from the sources that tools/sources.sh fetched:
#   zydis   instruction decoder: flavours ring3 (target zydis) and host (zydis-host)
#   lwip    TCP/IP: flavour guest (target lwip-guest); its port is libc/lwip/
# Their code is not held to our warnings.
foreach(library zydis lwip)
    execute_process(
        COMMAND ${CMAKE_SOURCE_DIR}/tools/sources.sh path ${library}
        OUTPUT_VARIABLE ${library}_dir OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    if(NOT EXISTS ${${library}_dir})
        message(FATAL_ERROR "The source of ${library} is not there yet: run ./bulkhead setup")
    endif()
endforeach()

# Zydis builds on the headers of zycore, an installed package. They are linked into a folder of
# their own, for ring 3 must not find the other headers of /usr/include.
if(NOT EXISTS /usr/include/Zycore/Zycore.h)
    message(FATAL_ERROR "libzycore-dev is not installed: run ./bulkhead setup")
endif()
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/zycore)
file(CREATE_LINK /usr/include/Zycore ${CMAKE_BINARY_DIR}/zycore/Zycore SYMBOLIC)

# The decoder alone: no formatter, no encoder, no AVX-512 or KNC tables, no C library.
set(zydis_sources Decoder DecoderData MetaInfo Mnemonic Register SharedData String Utils Zydis)
list(TRANSFORM zydis_sources REPLACE "(.+)" "${zydis_dir}/src/\\1.c")
foreach(flavour ring3 host)
    set(target zydis-${flavour})
    if(flavour STREQUAL ring3)
        set(target zydis)
    endif()
    add_library(${target} STATIC EXCLUDE_FROM_ALL ${zydis_sources})
    target_include_directories(${target} SYSTEM PUBLIC
        ${zydis_dir}/include ${CMAKE_BINARY_DIR}/zycore)
    target_include_directories(${target} PRIVATE ${zydis_dir}/src)
    target_compile_definitions(${target} PUBLIC
        ZYAN_NO_LIBC ZYDIS_STATIC_BUILD ZYCORE_STATIC_BUILD ZYDIS_DISABLE_FORMATTER
        ZYDIS_DISABLE_ENCODER ZYDIS_DISABLE_AVX512 ZYDIS_DISABLE_KNC)
    target_compile_options(${target} PRIVATE -w)
    target_link_libraries(${target} PRIVATE bulkhead_${flavour})
endforeach()

set(lwip_sources
    api/err.c
    core/altcp.c core/altcp_alloc.c core/altcp_tcp.c core/def.c core/dns.c core/inet_chksum.c
    core/init.c core/ip.c core/mem.c core/memp.c core/netif.c core/pbuf.c core/raw.c core/stats.c
    core/sys.c core/tcp.c core/tcp_in.c core/tcp_out.c core/timeouts.c core/udp.c
    core/ipv4/autoip.c core/ipv4/dhcp.c core/ipv4/etharp.c core/ipv4/icmp.c core/ipv4/igmp.c
    core/ipv4/ip4.c core/ipv4/ip4_addr.c core/ipv4/ip4_frag.c
    core/ipv6/dhcp6.c core/ipv6/ethip6.c core/ipv6/icmp6.c core/ipv6/inet6.c core/ipv6/ip6.c
    core/ipv6/ip6_addr.c core/ipv6/ip6_frag.c core/ipv6/mld6.c core/ipv6/nd6.c
    netif/ethernet.c)
if(EXISTS ${lwip_dir}/src/core/ipv4/acd.c)
    list(APPEND lwip_sources core/ipv4/acd.c) # from 2.2 on; before, it was a part of dhcp.c
endif()
list(TRANSFORM lwip_sources PREPEND ${lwip_dir}/src/)
add_library(lwip-guest STATIC EXCLUDE_FROM_ALL ${lwip_sources})
target_include_directories(lwip-guest SYSTEM PUBLIC
    ${lwip_dir}/src/include ${CMAKE_SOURCE_DIR}/libc/lwip)
target_compile_options(lwip-guest PRIVATE -w)
target_link_libraries(lwip-guest PRIVATE bulkhead_guest)
