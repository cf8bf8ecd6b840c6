# SPDX-License-Identifier: BSD-2-Clause
# Compiler and linker flags, one INTERFACE target per environment that code runs in:
#   bulkhead_kernel   root ring 0     bulkhead_ring3  root ring 3, on newlib
#   bulkhead_guest    inside a VM, on newlib          bulkhead_host  this machine, with sanitizers
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_POSITION_INDEPENDENT_CODE OFF)

# What the compiler is asked for is written out here; a build type would add to it.
set(CMAKE_BUILD_TYPE "" CACHE STRING "unused: the flags do not depend on it" FORCE)

add_library(bulkhead_warnings INTERFACE)
target_compile_options(bulkhead_warnings INTERFACE
    -Wall -Wextra -Werror
    $<$<C_COMPILER_ID:Clang>:-Wconditional-uninitialized>)

add_library(bulkhead_common INTERFACE)
target_include_directories(bulkhead_common INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(bulkhead_common INTERFACE -g)

# Code that runs on Bulkhead or as Bulkhead: nothing of the host's is assumed at run time.
add_library(bulkhead_target INTERFACE)
target_link_libraries(bulkhead_target INTERFACE bulkhead_common)
target_compile_options(bulkhead_target INTERFACE
    -O2 -fno-pic -fno-pie -fcf-protection=none -fno-stack-protector
    -fno-asynchronous-unwind-tables -ffunction-sections -fdata-sections)
target_link_options(bulkhead_target INTERFACE
    -static -no-pie -nostdlib -nostartfiles
    LINKER:--gc-sections LINKER:--build-id=none LINKER:--fatal-warnings
    LINKER:-z,max-page-size=4096 LINKER:-z,separate-code LINKER:-z,noexecstack LINKER:-z,norelro)

add_library(bulkhead_kernel INTERFACE)
target_link_libraries(bulkhead_kernel INTERFACE bulkhead_target)
target_compile_options(bulkhead_kernel INTERFACE
    -ffreestanding -mno-red-zone -mgeneral-regs-only -mcmodel=kernel
    # Nothing in it wants more of a stack: no function aligns it.
    $<IF:$<C_COMPILER_ID:GNU>,-mpreferred-stack-boundary=3,-mstack-alignment=8>)

# newlib.cmake adds the library's headers and archives to these two.
add_library(bulkhead_ring3 INTERFACE)
target_link_libraries(bulkhead_ring3 INTERFACE bulkhead_target)
target_link_options(bulkhead_ring3 INTERFACE LINKER:-Ttext-segment=0x400000)

add_library(bulkhead_guest INTERFACE)
target_link_libraries(bulkhead_guest INTERFACE bulkhead_target)
target_compile_options(bulkhead_guest INTERFACE -mno-red-zone)

# Code for this machine is built with sanitizers; for the measure of what the unit tests reach
# (preset `coverage`), with counters instead, hardly optimised so that lines stay what they are.
# The fuzzer's coverage goes into every host library of a clang build; without the fuzzer's own
# main it costs a little time and nothing else.
option(BULKHEAD_COVERAGE "count the lines that the unit tests reach; gcc only" OFF)
set(bulkhead_host_compile -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all)
set(bulkhead_host_checks -fsanitize=address,undefined)
if(BULKHEAD_COVERAGE)
    set(bulkhead_host_compile -Og)
    set(bulkhead_host_checks --coverage)
elseif(CMAKE_C_COMPILER_ID STREQUAL Clang)
    list(APPEND bulkhead_host_checks -fsanitize=fuzzer-no-link)
endif()
add_library(bulkhead_host INTERFACE)
target_link_libraries(bulkhead_host INTERFACE bulkhead_common)
target_compile_options(bulkhead_host INTERFACE ${bulkhead_host_compile} ${bulkhead_host_checks})
target_link_options(bulkhead_host INTERFACE ${bulkhead_host_checks})
