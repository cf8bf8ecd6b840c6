# SPDX-License-Identifier: BSD-2-Clause
# Compiler and linker flags, one INTERFACE target per environment that code runs in:
#   bulkhead_kernel   root ring 0     bulkhead_ring3  root ring 3, on newlib
#   bulkhead_guest    inside a VM, on newlib
#   bulkhead_tool     this machine, with sanitizers   bulkhead_host  and with counters, for tests
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

# Code for this machine is built with sanitizers, hardly optimised so that lines stay what they are.
# gcc counts, too, which of them the unit tests reach (tools/coverage.py); clang has the fuzzer's
# coverage in every host library, which without the fuzzer's own main costs a little time and
# nothing else. What a user runs counts nothing.
add_library(bulkhead_tool INTERFACE)
target_link_libraries(bulkhead_tool INTERFACE bulkhead_common)
set(bulkhead_sanitizers -fsanitize=address,undefined)
target_compile_options(bulkhead_tool INTERFACE
    -Og -fno-omit-frame-pointer -fno-sanitize-recover=all ${bulkhead_sanitizers})
target_link_options(bulkhead_tool INTERFACE ${bulkhead_sanitizers})

add_library(bulkhead_host INTERFACE)
target_link_libraries(bulkhead_host INTERFACE bulkhead_tool)
set(bulkhead_counters $<IF:$<C_COMPILER_ID:GNU>,--coverage,-fsanitize=fuzzer-no-link>)
target_compile_options(bulkhead_host INTERFACE ${bulkhead_counters})
target_link_options(bulkhead_host INTERFACE ${bulkhead_counters})
