# SPDX-License-Identifier: BSD-2-Clause
# newlib, built into the cache by tools/newlib.sh: its headers and archives for ring 3 and guests.
execute_process(
    COMMAND ${CMAKE_SOURCE_DIR}/tools/newlib.sh path
    OUTPUT_VARIABLE NEWLIB_DIR OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
if(NOT EXISTS ${NEWLIB_DIR}/lib/libc.a)
    message(FATAL_ERROR "newlib is not built yet: run ./bulkhead setup")
endif()

# Only the compiler's own headers and newlib's: a header of the host's C library must not be found.
execute_process(
    COMMAND ${CMAKE_C_COMPILER} -print-file-name=include
    OUTPUT_VARIABLE compiler_include OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)

foreach(environment bulkhead_ring3 bulkhead_guest)
    target_compile_options(${environment} INTERFACE
        -nostdinc -isystem${compiler_include} -isystem${NEWLIB_DIR}/include)
    target_link_directories(${environment} INTERFACE ${NEWLIB_DIR}/lib)
    # clang's <stdatomic.h> takes newlib's, which needs <stdint.h> and does not include it.
    target_compile_options(${environment} INTERFACE
        $<$<COMPILE_LANG_AND_ID:C,Clang>:SHELL:-include stdint.h>)
endforeach()
# Follows the port's library in a group, for each of the two calls the other.
set(bulkhead_libc -lc -lm -lgcc -Wl,--end-group)
